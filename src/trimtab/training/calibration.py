"""Make ½ mean ½: fit the scale and the shift of a reward to labelled texts of several sources."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from trimtab.checking import checked, shown
from trimtab.data.tables import LabelledText
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.rewards.card import SOURCES, RewardCard
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.shares import shares
from trimtab.training.distributed import evaluating
from trimtab.training.examples import TokenizedTexts
from trimtab.training.labels import check_labels
from trimtab.training.measure import prefix_rewards, reliability
from trimtab.training.recipe import Recipe

PAD = 0  # any token id; padding is masked
ALMOST = 1e-6  # how near a sigmoid's reward may come to 0 and 1 for the fit

BEFORE, AFTER, TRIED = "before", "after", "tried"
WHEN = (BEFORE, AFTER)

Column = Float[np.ndarray, " texts"]


@final
@dataclass(frozen=True)
class LabelledSource:
    """Labelled texts of one source.

    Attributes:
        name: its name in the card.
        rows: the texts, with a label for each attribute.
        sha256: the hash of its file.
    """

    name: str
    rows: Sequence[LabelledText]
    sha256: str = ""


class Half(NamedTuple):
    """One half of a source: tokenized texts and their labels."""

    source: str
    ids: list[list[int]]
    labels: Float[np.ndarray, "texts labels"]


class Scored(NamedTuple):
    """One half of a source: the rewards and the labels of its texts."""

    source: str
    rewards: Float[np.ndarray, "texts attributes"]
    labels: Float[np.ndarray, "texts labels"]


class Line(NamedTuple):
    """A share is scale · reward + shift, or the sigmoid of scale · log-odds + shift."""

    scale: float
    shift: float


AS_IT_IS = Line(1.0, 0.0)  # the reward is the share


class Trial(NamedTuple):
    """A line, and what it changes.

    Attributes:
        name: of the attribute.
        line: the one that was fitted.
        table: two rows for each source: its figures before and after, on the half that the fit left out.
    """

    name: str
    line: Line
    table: list[dict[str, Any]]

    @property
    def helps(self) -> bool:
        """Whether it lowers the Brier score, on the mean of the sources."""
        before, after = (np.mean([row["Brier score"] for row in self.table if row["when"] == when]) for when in WHEN)
        return bool(after < before)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The table of the card: what a line that is left out would have given, is called tried."""
        names = dict(zip(WHEN, WHEN if self.helps else (BEFORE, TRIED), strict=True))
        return [{**row, "when": names[row["when"]]} for row in self.table]


@checked
def calibrate(
    reward: RewardModel,
    sources: Sequence[LabelledSource],
    max_tokens: int = Recipe.max_tokens,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    attributes: Sequence[str] = (),
) -> RewardModel:
    """The reward with a calibration in its card: of texts that `RewardModel.shares` calls ½, half have a high label.

    A straight line is fitted to one half of every source, each source with the same weight. It is least squares of the
    clamped share; of a reward with a sigmoid, it is Platt's logistic regression. A line that does not lower the Brier
    score of the other halves is left out: the rewards were shares before, or the sources ask for different lines.
    Rewards are compared without an earlier calibration, which is replaced. The weights stay, and so do all texts that
    the reward steers.

    Args:
        reward: the reward to calibrate; it is not changed.
        sources: labelled texts, which should not be those of the training, with a label for each of the attributes.
            Half of each is for measuring.
        max_tokens: longer texts are cut at the end.
        seed: of the halves.
        progress: called with the number of texts scored and of all to score.
        attributes: those that the texts have labels of; all by default. The others keep their lines.

    Returns:
        The same weights under a card with the lines that help, and the figures of the halves that were not fitted,
        before and after.

    Raises:
        InvalidSetting: there is no source, or the reward returns differences or lacks an attribute.
        InvalidData: a source has fewer than two texts, other labels, or no text that the reward scores; or labels are
            all the same, or ranked backwards.
    """
    if not reward.card.baseline:
        raise InvalidSetting(f"got the reward {shown(reward.name)} of differences, expected one of rewards")
    if not sources:
        raise InvalidSetting("got no labelled texts to calibrate on, expected one source or more")
    names = tuple(attributes) or reward.attributes
    for name in names:
        reward.card.attribute_index(name)
    halves = [_halves(reward, source, names, max_tokens, seed) for source in sources]
    scored = _counted(progress, sum(len(half.ids) for pair in halves for half in pair))
    to_fit, held_out = ([_scored(reward, pair[place], scored) for pair in halves] for place in (0, 1))
    trials = [_trial(reward.card, name, column, to_fit, held_out) for column, name in enumerate(names)]
    facts = {
        "sources": [{"data": each.name, "texts": len(each.rows), "sha256": each.sha256} for each in sources],
        "seed": seed,
    }
    return RewardModel(reward.network, _calibrated(reward.card, trials, facts), reward.base, reward.name)


def _calibrated(card: RewardCard, trials: Sequence[Trial], facts: Mapping[str, object]) -> RewardCard:
    """The card with the lines that help, with what was tried, and with the figures of both."""
    lines = {trial.name: trial.line if trial.helps else AS_IT_IS for trial in trials}
    before = card.provenance.get("calibration")
    earlier = (
        {name: tried for name, tried in before.items() if name in card.attributes} if isinstance(before, dict) else {}
    )
    tried = {trial.name: {**trial.line._asdict(), "kept": trial.helps, **facts} for trial in trials}
    return replace(
        _with_lines(card, lines),
        provenance={**card.provenance, "calibration": earlier | tried},
        quality=card.quality | {f"{SOURCES}{trial.name}": trial.told for trial in trials},
    )


def _with_lines(card: RewardCard, changed: Mapping[str, Line]) -> RewardCard:
    """The card with other lines for some attributes; without any, if none changes a reward."""
    before = dict(zip(card.attributes, card.calibration, strict=True)) if card.calibration else {}
    lines = [changed.get(name, Line(*before.get(name, AS_IT_IS))) for name in card.attributes]
    return replace(card, calibration=() if set(lines) == {AS_IT_IS} else tuple((x.scale, x.shift) for x in lines))


def _counted(progress: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Adds up numbers of texts for a listener."""
    batches: list[int] = []

    def scored(texts: int) -> None:
        batches.append(texts)
        progress(sum(batches), total)

    return scored


def _halves(
    reward: RewardModel, source: LabelledSource, names: Sequence[str], max_tokens: int, seed: int
) -> tuple[Half, Half]:
    texts = TokenizedTexts(source.rows, reward.base, max_tokens)
    check_labels(texts, names)
    if len(texts) < 2:
        raise InvalidData(f"got {len(texts)} text from {shown(source.name)}, expected two or more: half are measured")
    order = np.random.default_rng(seed).permutation(len(texts))
    ids, labels = ([each[part] for each in texts.examples] for part in ("input_ids", "labels"))
    first, second = (
        Half(source.name, [ids[i] for i in order[start::2]], np.array([labels[i] for i in order[start::2]]))
        for start in (0, 1)
    )
    return first, second


def _scored(reward: RewardModel, half: Half, scored: Callable[[int], None]) -> Scored:
    """The rewards of whole texts."""
    with evaluating(reward.network, bf16=False):
        rewards = prefix_rewards(reward.network, half.ids, PAD, scored=scored)
    whole = np.array([of_text[-1] for of_text in rewards], dtype=np.float64)
    if not np.isfinite(whole).all(axis=1).any():
        raise InvalidData(f"the reward scores no text of {shown(half.source)}, expected texts of two tokens or more")
    return Scored(half.source, whole, half.labels)


def _trial(card: RewardCard, name: str, column: int, to_fit: Sequence[Scored], held_out: Sequence[Scored]) -> Trial:
    """Fit the line of one attribute, and measure it on the halves that the fit left out. `column` is of the labels."""
    place = card.attribute_index(name)
    line = _fit(to_fit, place, column, card)
    tried = _with_lines(card, {name: line})
    table = list[dict[str, Any]]()
    for half in held_out:
        after = shares(torch.from_numpy(half.rewards), tried).numpy()
        table += _compared(half.source, half.rewards[:, place], after[:, place], half.labels[:, column])
    return Trial(name, line, table)


def _fit(halves: Sequence[Scored], place: int, column: int, card: RewardCard) -> Line:
    """The line of one attribute; every source has the same weight."""
    rewards = np.concatenate([half.rewards[:, place] for half in halves])
    labels = np.concatenate([half.labels[:, column] for half in halves])
    weights = np.concatenate([np.full(len(half.labels), 1 / len(half.labels)) for half in halves])
    known = np.isfinite(rewards)  # a head may be unable to score a text of one token
    rewards, labels, weights = rewards[known], labels[known], weights[known]
    if np.ptp(labels) == 0:
        raise InvalidData(
            f"got labels of {shown(card.attributes[place])} that are all the same, expected different ones"
        )
    if card.link == "sigmoid":
        line = platt_line(logit(rewards.clip(ALMOST, 1 - ALMOST)), labels, weights)
    else:
        line = brier_line(rewards, labels, weights)
    if not line.scale > 0:
        attribute = shown(card.attributes[place])
        raise InvalidData(f"the reward ranks the texts backwards for {attribute}, expected labels of its meaning")
    return line


def brier_line(rewards: Column, labels: Column, weights: Column) -> Line:
    """The line of the least weighted squared error between the label and the clamped reward.

    Args:
        rewards: the reward of each text.
        labels: its label in [0, 1].
        weights: its weight, above 0.
    """
    start = np.polynomial.polynomial.polyfit(rewards, labels, 1, w=np.sqrt(weights))

    def error(line: Float[np.ndarray, "2"]) -> float:
        clamped = (line[1] * rewards + line[0]).clip(0, 1)
        return float((weights * (clamped - labels) ** 2).sum())

    shift, scale = minimize(error, start, method="Nelder-Mead").x
    return Line(float(scale), float(shift))


def platt_line(answers: Column, labels: Column, weights: Column) -> Line:
    """The line through log-odds of the greatest likelihood (Platt 1999); labels from ½ count as high."""
    high = labels >= 0.5
    if high.all() or not high.any():
        raise InvalidData("got labels on one side of ½, expected both")
    regression = LogisticRegression(C=np.inf).fit(answers[:, None], high, sample_weight=weights / weights.mean())
    return Line(float(regression.coef_[0, 0]), float(regression.intercept_[0]))


def _compared(source: str, before: Column, after: Column, labels: Column) -> list[dict[str, Any]]:
    known = np.isfinite(before)
    about = {"data": source, "texts": int(known.sum()), "share high": float((labels >= 0.5).mean())}
    both = zip(WHEN, (before, after), strict=True)
    return [{**about, "when": when, **share_figures(each[known], labels[known])} for when, each in both]


def share_figures(rewards: Column, labels: Column) -> dict[str, float]:
    """How well rewards are shares: accuracy at ½, Brier score, and the expected calibration error over tenths."""
    clamped, high = rewards.clip(0, 1), labels >= 0.5
    gaps = [row["texts"] * abs(row["reward"] - row["label"]) for row in reliability(clamped, labels)]
    return {
        "accuracy": float(np.mean((rewards >= 0.5) == high)),
        "Brier score": float(np.mean((clamped - labels) ** 2)),
        "calibration error": float(sum(gaps) / len(labels)),
    }
