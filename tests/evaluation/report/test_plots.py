"""The plots of a report: one file for each figure that was measured, with a curve for each method."""

import pytest

from tiny import tiny_reward
from tiny_sweep import LENGTH
from trimtab.evaluation.report import plots
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.plots import draw
from trimtab.evaluation.run.timing import save_times
from trimtab.evaluation.score.readers import profile_reader

PNG = b"\x89PNG"


def test_plots_are_drawn_for_what_was_measured(lm, copied):
    assert [path.name for path in draw(measure(copied, [LENGTH]), copied)] == ["pareto-length.png"]
    save_times(copied, {"q": {"ratio": 1.5, "reward_share": 0.25, "tokens_per_second": 100.0}}, lm, {})
    profile = profile_reader(tiny_reward(lm.base, "v"), None)
    drawn = draw(measure(copied, [LENGTH], {"profile:tiny": profile}), copied)
    assert [path.name for path in drawn] == ["pareto-length.png", "time.png", "profile.png"]
    assert all(path.read_bytes().startswith(PNG) and path.stat().st_size > 10_000 for path in drawn)


def test_the_pareto_plot_has_a_curve_for_each_method_from_top_k_on(copied, monkeypatch):
    figures = []
    saved = plots._saved
    monkeypatch.setattr(
        plots, "_saved", lambda figure, panels, path: figures.append(panels) or saved(figure, panels, path)
    )
    report = measure(copied, [LENGTH])
    draw(report, copied)
    (panels,) = figures
    titled = {panel.get_title(): panel for panel in panels}
    assert set(titled) == {"some ↑", "more ↓"}
    curves = {curve.get_label(): curve.lines[0].get_xdata() for curve in titled["some ↑"].containers}
    assert set(curves) == {"unsteered", "top-k", "q", "q+v", "v", "best of n by tiny-q"}
    perplexities = {row.row.name: row.figures["perplexity"].value for row in report.rows}
    names = ["some--up--top-k=0", "some--up--q=2", "some--up--q=5"]
    assert list(curves["q"]) == pytest.approx([perplexities[name] for name in names])
