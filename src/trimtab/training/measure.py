"""The measures on held-out texts: accuracy by prefix, AUC, calibration, and how often steering changes a token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, roc_auc_score

from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.candidate_scores import base_candidates, score_candidates
from trimtab.rewards.network import RewardNetwork

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BINS = 10
BATCH = 64
FEW_TEXTS = 50
PROBED_TEXTS = 32
PROBED_TOKENS = 32
PROBED_CANDIDATES = 20
Prefixes = Sequence[Float[np.ndarray, "_ attributes"]]  # each of its own length


@final
class FlipProbe:
    """Measures top1_flip: the share of places where z + β · clamp(r) has another most likely token than z.

    Args:
        base: the language model.
        texts: token ids; the first 32 tokens of the first 32 texts are used.
        beta: β, toward the first attribute.
        clamp: the range of rewards; None for no clamp.
    """

    def __init__(self, base: FrozenLM, texts: Sequence[Sequence[int]], beta: float, clamp: tuple[float, float] | None):
        self.batch = base.batch([ids[:PROBED_TOKENS] for ids in texts[:PROBED_TEXTS]])
        self.candidates = base_candidates(base, self.batch, min(PROBED_CANDIDATES, base.vocabulary_size))
        self.beta, self.clamp = beta, clamp

    def __call__(self, network: RewardNetwork) -> float | None:
        """The share for a network; None if no text has a second token."""
        candidates = self.candidates
        rewards = score_candidates(network, self.batch.ids, self.batch.mask, candidates.token_ids)[..., 0].float()
        if self.clamp is not None:
            rewards = rewards.clamp(*self.clamp)
        steered = (candidates.logits + self.beta * rewards).argmax(-1)[candidates.known]
        return float((steered != 0).float().mean()) if len(steered) else None


@final
@dataclass(frozen=True)
class TextMeasure:
    """Measures a network on held-out texts, with or without labels.

    Attributes:
        texts: token ids.
        labels: labels in [0, 1]; None for none.
        attributes: the names of the labels.
        differences: whether the head returns differences, whose sum is the reward of a text plus a constant.
        probe: measures top1_flip.
        pad_token_id: pads the batches.
        scored: called after each batch with its number of texts.
        columns: for each label, the place of its attribute among the network's; None if the labels are of all.
    """

    texts: Sequence[Sequence[int]]
    labels: Float[np.ndarray, "texts attributes"] | None
    attributes: tuple[str, ...]
    differences: bool
    probe: FlipProbe
    pad_token_id: int
    scored: Callable[[int], None] = lambda texts: None
    columns: tuple[int, ...] | None = None

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of the first `most` texts; of all texts, with a "warning" if they say little."""
        prefixes = prefix_rewards(network, self.texts[:most], self.pad_token_id, self.differences, self.scored)
        warning = held_out_warning(len(prefixes), self.labels, self.attributes) if most is None else None
        found: dict[str, Any] = {} if warning is None else {"warning": warning}
        found |= {"texts": len(prefixes), "top1_flip": self.probe(network)}
        found["reward_range"] = reward_range(prefixes)
        if self.labels is None:
            return found
        columns = range(len(self.attributes)) if self.columns is None else self.columns
        for place, (column, name) in enumerate(zip(columns, self.attributes, strict=True)):
            of_attribute = [rewards[:, column] for rewards in prefixes]
            found |= label_quality(of_attribute, self.labels[:most, place], name, not self.differences)
        return found


@final
@dataclass(frozen=True)
class PairMeasure:
    """Measures a network on held-out pairs: how often the chosen text scores strictly above the rejected one.

    Attributes:
        chosen, rejected: token ids.
        attribute: the name of the reward.
        probe: measures top1_flip.
        pad_token_id: pads the batches.
        differences: whether the head returns differences, whose sum is the reward of a text.
        margin_scale: multiplies the margin of a pair, whose sigmoid is then the probability of the preference.
    """

    chosen: Sequence[Sequence[int]]
    rejected: Sequence[Sequence[int]]
    attribute: str
    probe: FlipProbe
    pad_token_id: int
    differences: bool = False
    margin_scale: float = 1.0

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures and tables of the first `most` pairs; of all pairs, with a "warning" if they say little."""
        chosen = prefix_rewards(network, self.chosen[:most], self.pad_token_id, self.differences)
        rejected = prefix_rewards(network, self.rejected[:most], self.pad_token_id, self.differences)
        pairs = [(c[:, 0], r[:, 0]) for c, r in zip(chosen, rejected, strict=True)]
        pairs = [pair for pair in pairs if not any(np.isnan(side[-1]) for side in pair)]  # single tokens have no reward
        above = {f"{fraction:.0%}": share_above(pairs, fraction) for fraction in FRACTIONS}
        margins = self.margin_scale * np.array([c[-1] - r[-1] for c, r in pairs])
        warning = held_out_warning(len(chosen)) if most is None else None
        return {
            **({} if warning is None else {"warning": warning}),
            "texts": len(chosen),
            "top1_flip": self.probe(network),
            "reward_range": reward_range([*chosen, *rejected]),
            f"accuracy:{self.attribute}": above["100%"],
            f"accuracy_by_prefix:{self.attribute}": above,
            f"calibration:{self.attribute}": reliability(1 / (1 + np.exp(-np.abs(margins))), margins > 0),
        }


def held_out_warning(
    texts: int, labels: Float[np.ndarray, "texts attributes"] | None = None, attributes: Sequence[str] = ()
) -> str | None:
    """Why figures on held-out texts say little; None if there are enough texts, with high and low labels.

    Args:
        texts: the number of texts or pairs.
        labels: their labels; None for none.
        attributes: the names of the labels.
    """
    reasons = []
    if texts < FEW_TEXTS:
        reasons.append(f"only {texts} held-out text{'s'[: texts != 1]}, fewer than {FEW_TEXTS}: the figures are rough")
    if labels is not None:
        reasons += [
            f"every held-out label of {name!r} is {'at least' if high[0] else 'below'} 0.5: accuracy says nothing"
            for name, high in zip(attributes, (labels >= 0.5).T, strict=True)
            if len(high) and (high == high[0]).all()
        ]
    return "; ".join(reasons) or None


def prefix_rewards(
    network: RewardNetwork,
    texts: Sequence[Sequence[int]],
    pad_token_id: int,
    differences: bool = False,
    scored: Callable[[int], None] = lambda texts: None,
) -> list[Float[np.ndarray, "_ attributes"]]:
    """The reward of every prefix of each text, in the order given; `differences` are summed.

    `scored` is called after each batch with its number of texts.
    """
    found: list[Any] = [None] * len(texts)
    device = next(network.parameters()).device
    ordered = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), BATCH):
        rows = ordered[start : start + BATCH]
        batch = PromptBatch.pad([texts[i] for i in rows], pad_token_id, device)
        prefixes = network(batch.ids, batch.mask)
        values = network.head.link(prefixes.values).float().cpu().numpy()
        for i, rewards, known in zip(rows, values, prefixes.known.cpu().numpy(), strict=True):
            kept = rewards[known]
            found[i] = np.cumsum(kept, axis=0) if differences else kept
        scored(len(rows))
    empty = np.full((1, network.attributes), np.nan)
    return [empty if len(rewards) == 0 else rewards for rewards in found]


def label_quality(
    rewards: Sequence[Float[np.ndarray, " _"]], labels: Float[np.ndarray, " texts"], name: str, absolute: bool
) -> dict[str, Any]:
    """Accuracy (threshold ½), AUC and Spearman at the full text; accuracy by prefix; calibration.

    Texts without a reward, such as single tokens under a reward without BOS, are left out.

    Args:
        rewards: the reward of every prefix of each text.
        labels: the label of each text; at least ½ counts as high.
        name: the name of the attribute.
        absolute: False for sums of differences. They have no threshold, so AUC replaces accuracy.
    """
    known = np.array([not np.isnan(of_text[-1]) for of_text in rewards], dtype=bool)
    if not known.any():
        return {}
    rewards, labels = [of_text for of_text, is_known in zip(rewards, known, strict=True) if is_known], labels[known]
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
        up_to_here = np.array([reward_at_fraction(of_text, fraction) for of_text in rewards])
        if absolute:
            by_prefix[f"{fraction:.0%}"] = float(accuracy_score(high, up_to_here >= 0.5))
        elif both:
            by_prefix[f"{fraction:.0%}"] = float(roc_auc_score(high, up_to_here))
    found[f"{'accuracy' if absolute else 'auc'}_by_prefix:{name}"] = by_prefix
    if absolute:
        found[f"calibration:{name}"] = reliability(whole, labels)
    return found


def share_above(pairs: Sequence[tuple[np.ndarray, np.ndarray]], fraction: float) -> float:
    """How often the first text of a pair has the higher reward after a fraction of its tokens; 0 of no pairs."""
    above = [reward_at_fraction(first, fraction) > reward_at_fraction(second, fraction) for first, second in pairs]
    return float(np.mean(above)) if above else 0.0


def reward_at_fraction(rewards: Float[np.ndarray, " prefixes"], fraction: float) -> float:
    """The reward after a fraction of a text's tokens, at least one."""
    return float(rewards[max(1, int(np.ceil(fraction * len(rewards)))) - 1])


def reliability(rewards: Float[np.ndarray, " texts"], labels: np.ndarray) -> list[dict[str, float]]:
    """A row for each tenth of [0, 1]: the number of texts with a reward in it, their mean reward, their mean label.

    Rewards below 0 count in the first tenth, rewards above 1 in the last. Empty tenths have no row.
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
    """Quantiles of the rewards of all prefixes and attributes that have one; 0 if none has."""
    every = np.concatenate([np.zeros(0), *(rewards.ravel() for rewards in prefixes)])
    every = every[~np.isnan(every)] if np.any(~np.isnan(every)) else np.zeros(1)
    names = {"min": 0.0, "1%": 0.01, "median": 0.5, "99%": 0.99, "max": 1.0}
    return {name: float(np.quantile(every, quantile)) for name, quantile in names.items()}
