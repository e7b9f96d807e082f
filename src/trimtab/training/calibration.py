"""Make ½ mean ½: fit the scale and the shift of a reward to labelled texts of several sources."""

from collections.abc import Callable, Sequence
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
from trimtab.rewards.card import RewardCard
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.shares import shares
from trimtab.training.distributed import evaluating
from trimtab.training.examples import TokenizedTexts
from trimtab.training.labels import check_labels
from trimtab.training.measure import prefix_rewards, reliability
from trimtab.training.recipe import Recipe

PAD = 0  # any token id; padding is masked
ALMOST = 1e-6  # how near a sigmoid's reward may come to 0 and 1 for the fit

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
    labels: Float[np.ndarray, "texts attributes"]


class Line(NamedTuple):
    """A share is scale · reward + shift, or the sigmoid of scale · log-odds + shift."""

    scale: float
    shift: float


@checked
def calibrate(
    reward: RewardModel,
    sources: Sequence[LabelledSource],
    max_tokens: int = Recipe.max_tokens,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RewardModel:
    """The reward with a calibration in its card: of texts that `RewardModel.shares` calls ½, half have a high label.

    A straight line is fitted to one half of every source, each source with the same weight. It is least squares of the
    clamped share; of a reward with a sigmoid, it is Platt's logistic regression. The weights stay, and so do all texts
    that the reward steers.

    Args:
        reward: the reward to calibrate; it stays as it is.
        sources: labelled texts, which should not be those of the training. Half of each is for measuring.
        max_tokens: longer texts are cut at the end.
        seed: of the halves.
        progress: called with the number of texts scored and of all to score.

    Returns:
        The same weights under a card with the line, and the figures of the halves that were not fitted, before and
        after.

    Raises:
        InvalidSetting: there is no source, or the reward returns differences.
        InvalidData: a source has fewer than two texts or other labels, or the reward ranks it backwards.
    """
    if not reward.card.baseline:
        raise InvalidSetting(f"got the reward {shown(reward.name)} of differences, expected one of rewards")
    if not sources:
        raise InvalidSetting("got no labelled texts to calibrate on, expected one source or more")
    halves = [_halves(reward, source, max_tokens, seed) for source in sources]
    to_fit, held_out = ([pair[place] for pair in halves] for place in (0, 1))
    scored = _counted(progress, sum(len(half.ids) for pair in halves for half in pair))
    rewards = [_scored(reward, half, scored) for half in to_fit]
    lines = [_fit(to_fit, rewards, column, reward) for column in range(len(reward.attributes))]
    facts = {
        "sources": [{"data": each.name, "texts": len(each.rows), "sha256": each.sha256} for each in sources],
        "seed": seed,
    }
    card = replace(
        reward.card,
        calibration=tuple((line.scale, line.shift) for line in lines),
        provenance={**reward.card.provenance, "calibration": facts},
    )
    card = replace(
        card, quality={**card.quality, **_quality(card, held_out, [_scored(reward, half, scored) for half in held_out])}
    )
    return RewardModel(reward.network, card, reward.base, reward.name)


def _counted(progress: Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Adds up numbers of texts for a listener."""
    batches: list[int] = []

    def scored(texts: int) -> None:
        batches.append(texts)
        progress(sum(batches), total)

    return scored


def _halves(reward: RewardModel, source: LabelledSource, max_tokens: int, seed: int) -> tuple[Half, Half]:
    texts = TokenizedTexts(source.rows, reward.base, max_tokens)
    check_labels(texts, reward.attributes)
    if len(texts) < 2:
        raise InvalidData(f"got {len(texts)} text from {shown(source.name)}, expected two or more: half are measured")
    order = np.random.default_rng(seed).permutation(len(texts))
    ids, labels = ([each[part] for each in texts.examples] for part in ("input_ids", "labels"))
    first, second = (
        Half(source.name, [ids[i] for i in order[start::2]], np.array([labels[i] for i in order[start::2]]))
        for start in (0, 1)
    )
    return first, second


def _scored(reward: RewardModel, half: Half, scored: Callable[[int], None]) -> Float[np.ndarray, "texts attributes"]:
    """The rewards of whole texts."""
    with evaluating(reward.network, bf16=False):
        rewards = prefix_rewards(reward.network, half.ids, PAD, scored=scored)
    return np.array([of_text[-1] for of_text in rewards], dtype=np.float64)


def _fit(
    halves: Sequence[Half], scored: Sequence[Float[np.ndarray, "_ attributes"]], column: int, reward: RewardModel
) -> Line:
    """The line of one attribute; every source has the same weight."""
    rewards = np.concatenate([of_source[:, column] for of_source in scored])
    labels = np.concatenate([half.labels[:, column] for half in halves])
    weights = np.concatenate([np.full(len(half.ids), 1 / len(half.ids)) for half in halves])
    known = np.isfinite(rewards)  # a head may be unable to score a text of one token
    rewards, labels, weights = rewards[known], labels[known], weights[known]
    if reward.card.link == "sigmoid":
        line = platt_line(logit(rewards.clip(ALMOST, 1 - ALMOST)), labels, weights)
    else:
        line = brier_line(rewards, labels, weights)
    if not line.scale > 0:
        attribute = shown(reward.attributes[column])
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


def _quality(
    card: RewardCard, held_out: Sequence[Half], rewards: Sequence[Float[np.ndarray, "_ attributes"]]
) -> dict[str, object]:
    """A table of the sources for each attribute: what the calibration changes on the halves that it left out."""
    after = [shares(torch.from_numpy(each), card).numpy() for each in rewards]
    return {
        f"sources:{attribute}": [
            _compared(half, one[:, column], other[:, column], half.labels[:, column])
            for half, one, other in zip(held_out, rewards, after, strict=True)
        ]
        for column, attribute in enumerate(card.attributes)
    }


def _compared(half: Half, before: Column, after: Column, labels: Column) -> dict[str, Any]:
    known = np.isfinite(before)
    row: dict[str, Any] = {"data": half.source, "texts": int(known.sum()), "share high": float((labels >= 0.5).mean())}
    for when, rewards in (("before", before), ("after", after)):
        found = share_figures(rewards[known], labels[known])
        row |= {f"{name}, {when}": value for name, value in found.items()}
    return row


def share_figures(rewards: Column, labels: Column) -> dict[str, float]:
    """How well rewards are shares: accuracy at ½, Brier score, and the expected calibration error over tenths."""
    clamped, high = rewards.clip(0, 1), labels >= 0.5
    gaps = [row["texts"] * abs(row["reward"] - row["label"]) for row in reliability(clamped, labels)]
    return {
        "accuracy": float(np.mean((rewards >= 0.5) == high)),
        "Brier score": float(np.mean((clamped - labels) ** 2)),
        "calibration error": float(sum(gaps) / len(labels)),
    }
