"""What is measured on held-out texts: how well rewards tell labels, how early, how calibrated; how much they steer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, roc_auc_score

from trimtab.frozen.lm import PromptBatch
from trimtab.rewards.network import RewardNetwork
from trimtab.training.probe import FlipProbe

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BINS = 10
BATCH = 64
Prefixes = Sequence[Float[np.ndarray, "_ attributes"]]  # each of its own length


@final
@dataclass(frozen=True)
class TextMeasure:
    """Held-out texts with labels, or with none.

    Attributes:
        texts: token ids.
        labels: [texts, attributes] in [0, 1]; None where there are none.
        attributes: their names.
        differences: whether the head returns differences, which add up to the reward of a text but for a constant.
        probe: measures how often steering changes the base's first choice.
        pad_token_id: fills batches.
    """

    texts: Sequence[Sequence[int]]
    labels: Float[np.ndarray, "texts attributes"] | None
    attributes: tuple[str, ...]
    differences: bool
    probe: FlipProbe
    pad_token_id: int

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of the first `most` texts."""
        prefixes = prefix_rewards(network, self.texts[:most], self.pad_token_id, self.differences)
        found: dict[str, Any] = {"texts": len(prefixes), "top1_flip": self.probe(network)}
        found["reward_range"] = reward_range(prefixes)
        if self.labels is None:
            return found
        for column, name in enumerate(self.attributes):
            of_attribute = [rewards[:, column] for rewards in prefixes]
            found |= label_quality(of_attribute, self.labels[:most, column], name, not self.differences)
        return found


@final
@dataclass(frozen=True)
class PairMeasure:
    """Held-out pairs: how often the chosen text's reward is strictly above the rejected one's."""

    chosen: Sequence[Sequence[int]]
    rejected: Sequence[Sequence[int]]
    attribute: str
    probe: FlipProbe
    pad_token_id: int

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of the first `most` pairs."""
        chosen = prefix_rewards(network, self.chosen[:most], self.pad_token_id)
        rejected = prefix_rewards(network, self.rejected[:most], self.pad_token_id)
        above = {
            f"{fraction:.0%}": float(
                np.mean([at(c, fraction)[0] > at(r, fraction)[0] for c, r in zip(chosen, rejected, strict=True)])
            )
            for fraction in FRACTIONS
        }
        margins = np.array([c[-1, 0] - r[-1, 0] for c, r in zip(chosen, rejected, strict=True)])
        return {
            "texts": len(chosen),
            "top1_flip": self.probe(network),
            "reward_range": reward_range([*chosen, *rejected]),
            f"accuracy:{self.attribute}": above["100%"],
            f"accuracy_by_prefix:{self.attribute}": above,
            f"calibration:{self.attribute}": reliability(1 / (1 + np.exp(-np.abs(margins))), margins > 0),
        }


def prefix_rewards(
    network: RewardNetwork, texts: Sequence[Sequence[int]], pad_token_id: int, differences: bool = False
) -> list[Float[np.ndarray, "_ attributes"]]:
    """The reward of every prefix of each text, in the order given; `differences` are added up."""
    found: list[Any] = [None] * len(texts)
    device = next(network.parameters()).device
    ordered = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), BATCH):
        rows = ordered[start : start + BATCH]
        batch = PromptBatch.pad([texts[i] for i in rows], pad_token_id, device)
        scored = network(batch.ids, batch.mask)
        values = network.head.link(scored.values).float().cpu().numpy()
        for i, rewards, known in zip(rows, values, scored.known.cpu().numpy(), strict=True):
            kept = rewards[known]
            found[i] = np.cumsum(kept, axis=0) if differences else kept
    empty = np.full((1, network.attributes), np.nan)
    return [empty if len(rewards) == 0 else rewards for rewards in found]


def label_quality(
    rewards: Sequence[Float[np.ndarray, " _"]], labels: Float[np.ndarray, " texts"], name: str, absolute: bool
) -> dict[str, Any]:
    """Accuracy (threshold ½), AUC and Spearman at the full text; accuracy by prefix; calibration.

    Args:
        rewards: of every prefix of each text.
        labels: of each text; from ½ on they count as high.
        name: the attribute's.
        absolute: False for sums of differences, which have no threshold: their AUC stands in for the accuracy.
    """
    high = labels >= 0.5
    whole = np.array([of_text[-1] for of_text in rewards])
    both = bool(high.any() and not high.all())
    found: dict[str, Any] = {}
    if absolute:
        found[f"accuracy:{name}"] = float(accuracy_score(high, whole >= 0.5))
    if both:
        found[f"auc:{name}"] = float(roc_auc_score(high, whole))
    if both and np.ptp(whole) > 0:
        found[f"spearman:{name}"] = float(spearmanr(labels, whole).statistic)
    by_prefix = {}
    for fraction in FRACTIONS:
        so_far = np.array([at(of_text, fraction) for of_text in rewards])
        if absolute:
            by_prefix[f"{fraction:.0%}"] = float(accuracy_score(high, so_far >= 0.5))
        elif both:
            by_prefix[f"{fraction:.0%}"] = float(roc_auc_score(high, so_far))
    found[f"{'accuracy' if absolute else 'auc'}_by_prefix:{name}"] = by_prefix
    if absolute:
        found[f"calibration:{name}"] = reliability(whole, labels)
    return found


def at(rewards: Float[np.ndarray, " *prefixes"], fraction: float) -> Any:
    """The reward after a fraction of a text's tokens, at least one."""
    return rewards[max(1, int(np.ceil(fraction * len(rewards)))) - 1]


def reliability(rewards: Float[np.ndarray, " texts"], labels: np.ndarray) -> list[dict[str, float]]:
    """Of the texts with a reward in each tenth of [0, 1]: how many, their mean reward, their mean label.

    Rewards below 0 count in the first tenth, rewards above 1 in the last.
    """
    bins = np.clip((rewards * BINS).astype(int), 0, BINS - 1)
    return [
        {
            "from": place / BINS,
            "texts": int(inside.sum()),
            "reward": float(rewards[inside].mean()),
            "label": float(labels[inside].mean()),
        }
        for place in range(BINS)
        if (inside := bins == place).any()
    ]


def reward_range(prefixes: Prefixes) -> dict[str, float]:
    """Quantiles of the rewards of all prefixes, over all attributes."""
    every = np.concatenate([rewards.ravel() for rewards in prefixes])
    names = {"min": 0.0, "1%": 0.01, "median": 0.5, "99%": 0.99, "max": 1.0}
    return {name: float(np.quantile(every, quantile)) for name, quantile in names.items()}
