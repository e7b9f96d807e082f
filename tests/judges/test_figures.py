"""The figures of self-judges are those of the committed measurements."""

import json
from pathlib import Path

import pytest

from trimtab.judges.figures import LARGER, MEASURED, doubt_about

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("figure", [*MEASURED.values(), LARGER])
def test_a_figure_is_in_its_source(figure):
    lines = (ROOT / figure.source).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    (row,) = [each for each in rows if each["judge"] == "self:harmlessness" and each["data"].startswith("hh_harmless")]
    assert row["asked"] == figure.pairs
    assert (row["accuracy"], row["ties"]) == (figure.accuracy, figure.ties)
    assert row["interval"] == pytest.approx([figure.low, figure.high], abs=0.0005)


def test_a_measured_model_is_doubted_by_its_figures_and_another_because_it_has_none():
    assert doubt_about("smollm2") == (
        "smollm2 judges its own drafts, at the level of chance: of 100 pairs of answers it found the better one 50% of "
        "the time (40% to 60%), and did not decide on 100%"
    )
    assert "my-model judges its own drafts, and how well it does was never measured" in doubt_about("my-model")
    assert "trimtab rewind calibrate" in doubt_about("my-model")
