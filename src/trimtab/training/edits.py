"""Token rewards from the minimal edit between the texts of a pair (RLMEC, 2401.06081)."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, final

import torch
from torch import Tensor

from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.training.distillation import pad_left
from trimtab.training.objectives import Loss, squared_error
from trimtab.training.pair_batches import collate_pairs
from trimtab.training.trainer import Batch

GOOD, BAD = (0.0, 0.5), (-0.1, 0.0)  # the range of a token's reward in a good and in a bad text
THRESHOLD = 0.5


def edit_rewards(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[list[float], list[float]]:
    """The reward of each token of both texts: the rewriter's probability of it, minus ½, clipped.

    The rewriter is the pair itself: it turns the rejected text into the chosen one by the edit that keeps the longest
    common runs of tokens. So it gives 1 to each token of the chosen text and to each token that it keeps of the
    rejected one, and 0 to a token that it takes out.

    Differs from the paper: it trains a generative model to rewrite, whose probabilities lie between 0 and 1.
    """
    kept = [0.0] * len(rejected)
    for block in SequenceMatcher(None, rejected, chosen, autojunk=False).get_matching_blocks():
        kept[block.a : block.a + block.size] = [1.0] * block.size
    return [_clipped(1.0, GOOD)] * len(chosen), [_clipped(each, BAD) for each in kept]


def _clipped(probability: float, bounds: tuple[float, float]) -> float:
    return min(max(probability - THRESHOLD, bounds[0]), bounds[1])


@final
class Edits:
    """The squared error to the rewards of a pair's tokens.

    Args:
        pad_token_id: pads the batches.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids, mask and rewards: all chosen texts, then all rejected ones."""
        rewards = [edit_rewards(example["chosen"], example["rejected"]) for example in examples]
        targets = [torch.tensor(of_pair[side])[:, None] for side in (0, 1) for of_pair in rewards]
        return {**collate_pairs(examples, self.pad_token_id), "rewards": pad_left(targets)}

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """The squared error, averaged over tokens."""
        return squared_error(scored.values, batch["rewards"], scored.known)
