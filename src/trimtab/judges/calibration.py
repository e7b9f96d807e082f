"""How good a judge is: accuracy, ties and position bias on texts of known quality."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from trimtab.engines.base import Engine
from trimtab.errors import InvalidData
from trimtab.judges.base import Judge, check_scores
from trimtab.judges.draft import Draft
from trimtab.judges.self_judge import SelfEvaluation, SelfJudge

BATCH_SIZE = 8
Z95 = 1.96
CHANCE = 0.5
TIE = 0.5  # the score of a text that is neither good nor bad, and the credit for it
BIASED_TIES = 0.1  # share of ties above which a preference for a letter matters; soft scores cancel it and seldom tie

Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True)
class Calibration:
    """The quality of a judge.

    Attributes:
        judge: its name.
        count: the number of texts, or of pairs.
        accuracy: of texts, the mean of two accuracies: on good texts (score above ½) and on bad ones (below ½); of
            pairs, how often the better text has the higher score. A tie counts ½.
        interval: the 95 % interval of the accuracy by Agresti and Coull's rule, which stays wide for few texts.
        decided: the accuracy without ties; NaN if everything is tied.
        ties: the share of texts with a score of ½, or of pairs with equal scores.
        first_letter: how often a self-judge chose the first option, over both orders; ½ has no bias. None for others.
    """

    judge: str
    count: int
    accuracy: float
    interval: tuple[float, float]
    decided: float
    ties: float
    first_letter: float | None

    @property
    def near_chance(self) -> bool:
        """Whether chance explains the accuracy."""
        low, high = self.interval
        return low <= CHANCE <= high

    @property
    def summary(self) -> str:
        """The figures on one line."""
        low, high = self.interval
        first = "" if self.first_letter is None else f"; first option {self.first_letter:.1%}"
        return (
            f"{self.judge}: accuracy {self.accuracy:.1%} ({low:.1%} to {high:.1%}) on {self.count}; "
            f"ties {self.ties:.1%}, without them {self.decided:.1%}{first}"
        )

    @property
    def warning(self) -> str:
        """Why not to search by this judge; empty if there is no reason."""
        low, high = self.interval
        reasons = []
        if self.near_chance:
            reasons.append(f"its accuracy is near chance: {self.accuracy:.0%} ({low:.0%} to {high:.0%})")
        if high < CHANCE:
            reasons.append(
                f"it is worse than chance, {self.accuracy:.0%} ({low:.0%} to {high:.0%}); is its sign wrong?"
            )
        if self.ties > CHANCE:
            reasons.append(f"it does not decide on {self.ties:.0%} of them")
        if self.first_letter is not None and self.ties > BIASED_TIES and abs(self.first_letter - CHANCE) > CHANCE / 2:
            reasons.append(f"it chooses the first option {self.first_letter:.0%} of the time, in both orders")
        return f"do not search by {self.judge}: " + "; ".join(reasons) if reasons else ""


def calibrate_on_texts(
    judge: Judge,
    drafts: Sequence[Draft],
    good: Sequence[bool],
    engine: Engine | None,
    progress: Progress = lambda done, total: None,
) -> list[Calibration]:
    """Measure a judge on texts that are good or bad. A self-judge is measured twice: hard and soft.

    Args:
        judge: the judge.
        drafts: the texts.
        good: whether each text is good.
        engine: engine for judges that need one.
        progress: called with the number of texts done, and of all texts.

    Raises:
        InvalidData: all texts are good, or all are bad; or a score is out of range.
    """
    check_both_kinds(good)
    better, measured = np.array(good), []
    for name, scores, first in _scores(judge, drafts, engine, progress):
        right = _credit(np.where(better, scores - TIE, TIE - scores))
        measured.append(_calibration(name, [right[better], right[~better]], first))
    return measured


def check_both_kinds(good: Sequence[bool]) -> None:
    """Refuse texts of one kind.

    Raises:
        InvalidData: all are good, or all are bad.
    """
    if all(good) or not any(good):
        raise InvalidData(
            f"got {len(good)} texts that are all {'good' if any(good) else 'bad'}, expected both; "
            "name the column and its value for good texts"
        )


def calibrate_on_pairs(
    judge: Judge,
    chosen: Sequence[Draft],
    rejected: Sequence[Draft],
    engine: Engine | None,
    progress: Progress = lambda done, total: None,
) -> list[Calibration]:
    """Measure a judge on pairs of texts: each chosen one is better than the rejected one.

    Other arguments as in `calibrate_on_texts`.
    """
    scored = _scores(judge, [*chosen, *rejected], engine, progress)
    split = len(chosen)
    return [_calibration(name, [_credit(scores[:split] - scores[split:])], first) for name, scores, first in scored]


def _scores(
    judge: Judge, drafts: Sequence[Draft], engine: Engine | None, progress: Progress
) -> list[tuple[str, Float[np.ndarray, " drafts"], float | None]]:
    """The judge's name, the score of each draft, and how often a self-judge chose the first letter."""
    groups = [drafts[start : start + BATCH_SIZE] for start in range(0, len(drafts), BATCH_SIZE)]
    scores: list[float] = []
    evaluations: list[SelfEvaluation] = []
    for group in groups:
        if isinstance(judge, SelfJudge) and engine is not None:
            evaluations += judge.evaluate([(draft.prompt, draft.token_ids) for draft in group], engine)
        else:
            scores += check_scores(judge.name, judge.score(group, engine), len(group))
        progress(len(scores) + len(evaluations), len(drafts))
    if not isinstance(judge, SelfJudge):
        return [(judge.name, np.array(scores), None)]
    first = float(np.mean([letter == 0 for each in evaluations for letter in each.letters]))
    both = [SelfJudge(judge.question, judge.chat, soft) for soft in (False, True)]
    return [(each.name, np.array([each.score_of(one) for one in evaluations]), first) for each in both]


def _credit(margins: Float[np.ndarray, " drafts"]) -> Float[np.ndarray, " drafts"]:
    """1 for a margin above 0, ½ for 0, 0 below."""
    return (np.sign(margins) + 1) / 2


def _calibration(judge: str, classes: Sequence[Float[np.ndarray, " _"]], first_letter: float | None) -> Calibration:
    counts = np.array([len(of_class) + 4 for of_class in classes])  # two more right answers and two more wrong ones
    shares = np.array([of_class.sum() + 2 for of_class in classes]) / counts
    margin = Z95 * np.sqrt((shares * (1 - shares) / counts).sum()) / len(classes)
    low, high = np.clip([shares.mean() - margin, shares.mean() + margin], 0, 1)
    everything = np.concatenate(classes)
    decided = [of_class[of_class != TIE] for of_class in classes]
    return Calibration(
        judge,
        len(everything),
        float(np.mean([of_class.mean() for of_class in classes])),
        (float(low), float(high)),
        float(np.mean([of_class.mean() for of_class in decided])) if all(map(len, decided)) else float("nan"),
        float(np.mean(everything == TIE)),
        first_letter,
    )
