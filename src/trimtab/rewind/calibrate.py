"""How good a judge is: accuracy, ties and position bias on texts whose quality is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from trimtab.engines.base import Engine
from trimtab.errors import InvalidData
from trimtab.rewind.draft import Draft
from trimtab.rewind.judge import Judge
from trimtab.rewind.self_judge import Asked, SelfJudge

TOGETHER = 8
Z95 = 1.96
CHANCE = 0.5
SOME = 0.1  # ties above which a bias for a letter shows; soft scores cancel it and seldom tie

Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True)
class Calibration:
    """What is known of a judge.

    Attributes:
        judge: its name.
        asked: how many texts, or pairs of texts.
        accuracy: of texts: the mean of its accuracies on good ones (s > 0) and on bad ones (s < 0); of pairs: how
            often the better one has the higher s. A tie counts one half.
        interval: of the accuracy, 95 %, by Agresti and Coull's rule, so that a few lucky texts prove nothing.
        decided: the accuracy where there was no tie; NaN where everything was tied.
        ties: the share of texts with s = 0, or of pairs with equal s.
        first_letter: how often a self-judge chose the first option over both orders; ½ has no bias. None for others.
    """

    judge: str
    asked: int
    accuracy: float
    interval: tuple[float, float]
    decided: float
    ties: float
    first_letter: float | None

    @property
    def near_chance(self) -> bool:
        """Whether chance explains the accuracy."""
        return self.interval[0] <= CHANCE

    @property
    def summary(self) -> str:
        """The figures in a line."""
        low, high = self.interval
        first = "" if self.first_letter is None else f"; first option {self.first_letter:.1%}"
        return (
            f"{self.judge}: accuracy {self.accuracy:.1%} ({low:.1%} to {high:.1%}) on {self.asked}; "
            f"ties {self.ties:.1%}, without them {self.decided:.1%}{first}"
        )

    @property
    def warning(self) -> str:
        """What a user should know before searching by this judge; empty if nothing."""
        notes = []
        if self.near_chance:
            notes.append(
                f"its accuracy is near chance: {self.accuracy:.0%} ({self.interval[0]:.0%} to {self.interval[1]:.0%})"
            )
        if self.ties > CHANCE:
            notes.append(f"it has no opinion on {self.ties:.0%}")
        if self.first_letter is not None and self.ties > SOME and abs(self.first_letter - CHANCE) > CHANCE / 2:
            notes.append(f"it says the first option {self.first_letter:.0%} of the time, whatever that is")
        return f"do not search by {self.judge}: " + "; ".join(notes) if notes else ""


def calibrate_on_texts(
    judge: Judge, drafts: Sequence[Draft], good: Sequence[bool], engine: Engine, progress: Progress = lambda d, t: None
) -> list[Calibration]:
    """Measure a judge on texts that are good or bad; a self-judge both by its answers and by their probabilities.

    Raises:
        InvalidData: there are only good ones, or only bad ones.
    """
    better = np.array(good)
    if better.all() or not better.any():
        raise InvalidData(
            f"got {len(better)} texts that are all {'good' if better.any() else 'bad'}, expected both; "
            "name the column and what it holds where a text is good"
        )
    measured = []
    for name, scores, first in _ask(judge, drafts, engine, progress):
        right = _credit(np.where(better, scores, -scores))
        measured.append(_calibration(name, [right[better], right[~better]], first))
    return measured


def calibrate_on_pairs(
    judge: Judge,
    chosen: Sequence[Draft],
    rejected: Sequence[Draft],
    engine: Engine,
    progress: Progress = lambda d, t: None,
) -> list[Calibration]:
    """Measure a judge on pairs of which the first is better; a self-judge both ways."""
    asked = _ask(judge, [*chosen, *rejected], engine, progress)
    split = len(chosen)
    return [_calibration(name, [_credit(scores[:split] - scores[split:])], first) for name, scores, first in asked]


def _ask(
    judge: Judge, drafts: Sequence[Draft], engine: Engine, progress: Progress
) -> list[tuple[str, np.ndarray, float | None]]:
    """The judge's name, s of each draft, and how often a self-judge chose the first letter."""
    groups = [drafts[start : start + TOGETHER] for start in range(0, len(drafts), TOGETHER)]
    scores: list[float] = []
    answers: list[Asked] = []
    for group in groups:
        if isinstance(judge, SelfJudge):
            answers += judge.ask([(draft.prompt, draft.token_ids) for draft in group], engine)
        else:
            scores += judge.score(group, engine)
        progress(len(scores) + len(answers), len(drafts))
    if not isinstance(judge, SelfJudge):
        return [(judge.name, np.array(scores), None)]
    first = float(np.mean([letter == 0 for answer in answers for letter in answer.letters]))
    both = [SelfJudge(judge.question, judge.chat, soft) for soft in (False, True)]
    return [(each.name, np.array([each.score_of(answer) for answer in answers]), first) for each in both]


def _credit(margins: np.ndarray) -> np.ndarray:
    """1 where a margin is above 0, ½ where it is 0, 0 below."""
    return (np.sign(margins) + 1) / 2


def _calibration(judge: str, classes: Sequence[np.ndarray], first_letter: float | None) -> Calibration:
    counts = np.array([len(of_class) + 4 for of_class in classes])  # two right answers and two wrong ones more
    shares = np.array([of_class.sum() + 2 for of_class in classes]) / counts
    margin = Z95 * np.sqrt((shares * (1 - shares) / counts).sum()) / len(classes)
    low, high = np.clip([shares.mean() - margin, shares.mean() + margin], 0, 1)
    everything = np.concatenate(classes)
    decided = [of_class[of_class != CHANCE] for of_class in classes]
    return Calibration(
        judge,
        len(everything),
        float(np.mean([of_class.mean() for of_class in classes])),
        (float(low), float(high)),
        float(np.mean([of_class.mean() for of_class in decided])) if all(map(len, decided)) else float("nan"),
        float(np.mean(everything == CHANCE)),
        first_letter,
    )
