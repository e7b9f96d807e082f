import pytest

from trimtab.errors import InvalidSetting, WrongType
from trimtab.evaluation.run.sweep_settings import Grid, PlotOptions, ScoringOptions, SweepSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": ["q"]}, "--reward without --beta"),
        ({"beta": [2.0]}, "--beta without --reward"),
        ({"reward": ["q"], "beta": [-2.0]}, r"beta=-2\.0, expected above 0"),
        ({"reward": ["q"], "beta": [float("inf")]}, "beta=inf"),
        ({"reward": ["q"], "beta": [1.0], "max_kl": [0.0]}, "max_kl=0, expected a budget above 0"),
        ({"reward": ["q"], "beta": [1.0], "max_kl": [1e-9]}, "at least 1e-06, or 0 for no steering"),
        ({"max_kl": [1.0]}, "--max-kl without --reward"),
        ({"reward": ["q"], "beta": [1.0], "best_of": [1]}, "best_of=1, expected at least 2"),
        ({"best_of": [4]}, "--best-of without --by"),
        ({"by": "q"}, "got --by, expected --best-of with it"),
        ({"rewind_alone": True}, "got --rewind-alone, expected --rewind with it"),
        ({"rewind_beta": [2.0]}, "--rewind-beta, expected --rewind"),
        ({"reward": ["q"], "beta": [1.0], "rewind": ["q"], "rewind_beta": [0.0]}, r"beta=0\.0"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(fields, message):
    with pytest.raises(InvalidSetting, match=message):
        Grid(**fields)


@pytest.mark.parametrize("name", ["samples", "max_new_tokens", "top_k", "batch_size", "limit"])
def test_a_count_below_one_is_refused_by_name(name):
    with pytest.raises(InvalidSetting, match=f"got {name}=0, expected at least 1"):
        SweepSettings(**{name: 0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"seed": -1}, "seed=-1"), ({"temperature": 0.0}, "temperature"), ({"temperature": float("nan")}, "nan")],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(InvalidSetting, match=message):
        SweepSettings(**fields)


def test_names_that_are_empty_are_refused():
    for kind, fields in (
        (Grid, {"rewind": [""]}),
        (ScoringOptions, {"judge": [""]}),
        (ScoringOptions, {"profile": ""}),
    ):
        with pytest.raises(InvalidSetting, match="expected"):
            kind(**fields)


def test_wrong_types_are_our_errors():
    for kind, fields in (
        (Grid, {"beta": "2"}),
        (SweepSettings, {"samples": "2"}),
        (ScoringOptions, {"judge": "vader"}),
    ):
        with pytest.raises(WrongType, match=next(iter(fields))):
            kind(**fields)


def test_plots_have_formats_that_exist_each_once():
    assert PlotOptions().formats == ("png", "svg")
    assert PlotOptions(["pdf", "png", "pdf"]).formats == ("pdf", "png")
    with pytest.raises(InvalidSetting, match="png, svg, pdf"):
        PlotOptions(["gif"])
