import pytest

from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reward": ["q"]}, "--reward without --beta"),
        ({"beta": [2.0]}, "--beta without --reward"),
        ({"reward": ["q"], "beta": [-2.0]}, r"beta=-2\.0, expected above 0"),
        ({"reward": ["q"], "beta": [float("inf")]}, "beta=inf"),
        ({"reward": ["q"], "beta": [1.0], "best_of": [1]}, "best_of=1, expected at least 2"),
        ({"best_of": [4]}, "--best-of without --by"),
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
