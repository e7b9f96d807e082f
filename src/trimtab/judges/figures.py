"""How well known models judge their own drafts, as `trimtab rewind calibrate` measured it."""

from typing import NamedTuple, final


@final
class Figure(NamedTuple):
    """The accuracy of a self-judge at finding the better of two answers, in the paper's way: by its letters.

    Attributes:
        accuracy: share of pairs; a tie counts ½.
        low, high: its 95 % interval.
        ties: share of pairs on which it does not decide.
        pairs: how many.
        source: the file with the figures.
    """

    accuracy: float
    low: float
    high: float
    ties: float
    pairs: int
    source: str


MEASURED = {
    "smollm2": Figure(0.5, 0.404, 0.596, 1.0, 100, "results/rewind/calibration-smollm2.jsonl"),
}
LARGER = Figure(0.505, 0.409, 0.601, 0.77, 100, "results/rewind/calibration.jsonl")  # Qwen2.5-Coder-1.5B-Instruct


def doubt_about(model: str) -> str:
    """Return why not to let a model judge its own drafts, in one or two sentences."""
    figure = MEASURED.get(model)
    if figure is None:
        return (
            f"{model} judges its own drafts, and how well it does was never measured; a model of 1.5B parameters found "
            f"the better of two answers {LARGER.accuracy:.0%} of the time (chance is 50%); measure yours with "
            "`trimtab rewind calibrate`"
        )
    return (
        f"{model} judges its own drafts, at the level of chance: of {figure.pairs} pairs of answers it found the "
        f"better one {figure.accuracy:.0%} of the time ({figure.low:.0%} to {figure.high:.0%}), and did not decide on "
        f"{figure.ties:.0%}"
    )
