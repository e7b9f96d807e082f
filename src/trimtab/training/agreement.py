"""How well a student agrees with its teacher on held-out texts, as rank correlations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import spearmanr
from torch import Tensor

from trimtab.rewards.heads.base import PrefixRewards, RewardHead, take_slots
from trimtab.rewards.network import RewardNetwork
from trimtab.training.batches import by_length
from trimtab.training.examples import Examples
from trimtab.training.measure import TextMeasure
from trimtab.training.recipe import DistilTarget
from trimtab.training.trainer import Objective

BATCH = 32
FEWEST = 3  # values that have a rank correlation

Ranked = Float[np.ndarray, " values"]


@final
@dataclass(frozen=True)
class TaughtMeasure:
    """The measure of held-out texts, and the agreement with the teacher on those that the teacher scored.

    Attributes:
        of_texts: the measure of texts.
        objective: the objective of a distillation; it makes batches of texts with their teacher's rewards.
        target: what the student learned.
        examples: the texts that the teacher scored.
        attributes: the names of the rewards.
    """

    of_texts: TextMeasure
    objective: Objective
    target: DistilTarget
    examples: Examples
    attributes: tuple[str, ...]

    def __call__(self, network: RewardNetwork, most: int | None = None) -> dict[str, Any]:
        """Figures of the first `most` texts; of all texts for None."""
        examples = self.examples.first(len(self.examples) if most is None else most)
        found = agreement(network, self.objective, self.target, examples, self.attributes)
        return {**self.of_texts(network, most), **found}


def agreement(
    network: RewardNetwork,
    objective: Objective,
    target: DistilTarget,
    examples: Sequence[Mapping[str, Any]],
    attributes: Sequence[str],
) -> dict[str, float]:
    """Spearman's rank correlation of a student's rewards and its teacher's, for each attribute.

    * agreement_over_prefixes: over the prefixes of all texts together.
    * agreement_over_candidates: over the candidates in one place, averaged over places. It needs the target
      "candidates". Places where fewer than 3 candidates have rewards, or all have the same, are left out.

    A target of differences has no agreement, and neither have figures without any values.
    """
    if target == "delta":
        return {}
    prefixes: list[tuple[np.ndarray, np.ndarray]] = []
    places: list[tuple[np.ndarray, np.ndarray]] = []
    device = next(network.parameters()).device
    for some in by_length(list(examples), BATCH):
        batch = {name: part.to(device) for name, part in objective.collate(some).items()}
        scored = network(batch["ids"], batch["mask"])
        known = scored.known & batch["taught"]
        prefixes.append((_numbers(network.head.link(scored.values)[known]), _numbers(batch["observed"][known])))
        if target == "candidates":
            places += _of_places(network.head, scored, batch)
    found: dict[str, float] = {}
    for column, name in enumerate(attributes):
        of_prefixes = _spearman(*(np.concatenate(side)[:, column] for side in zip(*prefixes, strict=True)))
        of_places = [rank for s, t in places if (rank := _spearman(s[:, column], t[:, column])) is not None]
        if of_prefixes is not None:
            found[f"agreement_over_prefixes:{name}"] = of_prefixes
        if of_places:
            found[f"agreement_over_candidates:{name}"] = float(np.mean(of_places))
    return found


def _of_places(
    head: RewardHead, scored: PrefixRewards, batch: Mapping[str, Tensor]
) -> list[tuple[Float[np.ndarray, "_ attributes"], Float[np.ndarray, "_ attributes"]]]:
    """The student's and the teacher's rewards of the candidates in each place."""
    answers = head.link(head.predict(take_slots(scored.before, batch["slots"]), batch["candidates"]))
    asked: Bool[Tensor, "rows places k"] = batch["asked"] & scored.known.gather(1, batch["slots"])[..., None]
    student, teacher, kept = (_numbers(part.flatten(0, 1)) for part in (answers, batch["rewards"], asked))
    return [(s[k > 0], t[k > 0]) for s, t, k in zip(student, teacher, kept, strict=True)]


def _numbers(part: Tensor) -> np.ndarray:
    return part.detach().float().cpu().numpy()


def _spearman(student: Ranked, teacher: Ranked) -> float | None:
    """The rank correlation; None for too few values, or where one side is constant."""
    if len(student) < FEWEST or np.ptp(student) == 0 or np.ptp(teacher) == 0:
        return None
    return float(spearmanr(student, teacher).statistic)
