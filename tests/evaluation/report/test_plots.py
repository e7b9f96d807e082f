"""The plots of a report: one for each figure that was measured, with a curve for each method."""

import json

import pytest

from label_boxes import label_boxes
from tiny import tiny_reward
from tiny_sweep import LENGTH
from trimtab.evaluation.report import plots
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.palette import style_of
from trimtab.evaluation.report.plots import Plots
from trimtab.evaluation.report.record import as_record
from trimtab.evaluation.run.times_file import save_times
from trimtab.evaluation.score.readers import profile_reader

TIMES = {"q": {"ratio": 1.5, "reward_share": 0.25, "tokens_per_second": 100.0}}


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written."""
    seen, save = [], plots.save

    def keep(figure, path, formats):
        seen.append(figure)
        return save(figure, path, formats)

    monkeypatch.setattr(plots, "save", keep)
    return seen


def curves_of(panel):
    return {line.get_label(): line for line in panel.lines if not line.get_label().startswith("_")}


def test_plots_are_drawn_for_what_was_measured(lm, copied):
    def drawn(**more):
        pictures = Plots(as_record(measure(copied, [LENGTH], **more)), copied, ("png", "svg")).draw()
        assert all(file.stat().st_size > 10_000 for picture in pictures for file in picture.files)
        return [[file.name for file in picture.files] for picture in pictures]

    assert drawn() == [["pareto-length.png", "pareto-length.svg"]]
    save_times(copied, TIMES, lm, {})
    profile = profile_reader(tiny_reward(lm.base, "v"), None)
    names = [shown for shown, _ in drawn(readers={"profile:tiny": profile})]
    assert names == ["pareto-length.png", "time.png", "profile.png"]


def test_each_method_has_one_curve_in_whatever_order_its_rows_come():
    def row(method, **more):
        return {"method": method, "beta": None, **more}

    ways = [row(f"best of {n} {way}", drafts=n) for n in (4, 8) for way in ("", "in blocks of 5 ")]
    steered = [
        row("tiny", beta=2.0),
        row("tiny", beta=5.0),
        row("tiny greedy", beta=1.5),
        row("rewound by tiny", beta=3.0),
    ]
    steered[-1]["search"] = {"children": 3}
    found = dict(plots._by_method([row("top-k", beta=0), *steered, *ways], anchored=True))
    assert [(name, len(points)) for name, points in found.items()] == [
        ("top-k", 1),
        ("tiny", 3),  # from top-k on
        ("tiny greedy", 1),
        ("rewound by tiny", 1),
        ("best of n ", 2),
        ("best of n in blocks of 5 ", 2),
    ]


def test_the_pareto_plot_has_a_curve_for_each_method_from_top_k_on(copied, figures):
    report = measure(copied, [LENGTH])
    Plots(as_record(report), copied).draw()
    titled = {panel.get_title(): panel for panel in figures[0].axes}
    assert set(titled) == {"some: higher is better", "more: lower is better"}
    curves = curves_of(titled["some: higher is better"])
    plain = {"unsteered (whole vocabulary)", "top-k sampling (β = 0)"}
    assert set(curves) == plain | {"q", "q+v", "v", "best of n by tiny-q"}
    perplexities = {row.row.name: row.figures["perplexity"].value for row in report.rows}
    names = ["some--up--top-k=0", "some--up--q=2", "some--up--q=5"]
    assert list(curves["q"].get_xdata()) == pytest.approx([perplexities[name] for name in names])


def test_a_method_has_one_colour_in_all_plots(lm, copied, figures):
    save_times(copied, TIMES, lm, {})
    profile = profile_reader(tiny_reward(lm.base, "v"), None)
    Plots(as_record(measure(copied, [LENGTH], {"profile:tiny": profile})), copied).draw()
    colours = {
        curve.get_color()
        for figure in figures
        for panel in figure.axes
        for name, curve in curves_of(panel).items()
        if name.split(",")[0] == "q"
    }
    assert colours == {style_of("q")["color"]}


def test_captions_name_data_judge_texts_and_machine(lm, copied):
    save_times(copied, TIMES, lm, {})
    pareto, time = Plots(as_record(measure(copied, [LENGTH])), copied).draw()
    for words in ("Judge: length.", "some (3 prompts, steered up)", "3 continuations", "95% bootstrap", "tiny"):
        assert words in pareto.caption
    assert "Timed on: CPU" in time.caption
    assert lm.base.weights_fingerprint in pareto.caption


def test_captions_name_every_machine(lm, copied, monkeypatch):
    save_times(copied, TIMES, lm, {})
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    save_times(copied, {"v": TIMES["q"]}, lm, {})
    _, time = Plots(as_record(measure(copied, [LENGTH])), copied).draw()
    first, second = time.caption.partition("Timed on: ")[2].split("; ")
    assert first.startswith("CPU")
    assert ", 7 threads" in second
    assert ", 7 threads" not in first


def test_a_title_stands_above_every_plot(copied, figures):
    Plots(as_record(measure(copied, [LENGTH])), copied, title="My own title").draw()
    assert [figure.get_suptitle() for figure in figures] == ["My own title"]


def test_labels_of_a_panel_do_not_overlap(copied, figures):
    Plots(as_record(measure(copied, [LENGTH])), copied).draw()
    for panel in figures[0].axes:
        boxes = [box for _, box in label_boxes(panel)]
        assert len(boxes) > 4
        assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_figures_that_are_missing_are_left_out(copied):
    record = as_record(measure(copied, [LENGTH]))
    for row in record["rows"][:4]:
        row["judges"]["length"]["mean"] = {"value": None, "low": None, "high": None}
    for row in record["rows"][4:6]:
        row["figures"]["perplexity"]["value"] = None
    assert Plots(json.loads(json.dumps(record)), copied).draw()
