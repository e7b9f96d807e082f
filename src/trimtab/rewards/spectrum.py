"""The spectrum of a reward: how many directions its matrix of rewards (prefixes × next tokens) really has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.errors import InvalidSetting
from trimtab.frozen.cache import LAST, PrefixCache
from trimtab.rewards.heads import QHead
from trimtab.rewards.model import RewardModel
from trimtab.rewards.network import RewardNetwork

BLOCK_TOKENS = 1024  # candidates a V-head runs in one forward
Matrix = Float[np.ndarray, "prefixes tokens"]


@final
@dataclass(frozen=True)
class Spectrum:
    """The singular values of a reward matrix and what they come to.

    Attributes:
        prefixes, tokens: the matrix's shape.
        values: its singular values, largest first.
    """

    prefixes: int
    tokens: int
    values: Float[np.ndarray, " values"]

    @property
    def threshold(self) -> float:
        """s₁ · max(N, |V|) · ε of float32: below it a singular value is rounding."""
        return float(self.values[0] * max(self.prefixes, self.tokens) * np.finfo(np.float32).eps)

    @property
    def numerical_rank(self) -> int:
        """How many singular values are above the threshold (2407.04615)."""
        return int((self.values > self.threshold).sum())

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values as shares of their sum: between 1 and the rank."""
        shares = self.values / self.values.sum()
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))


def spectrum(rewards: Matrix) -> Spectrum:
    """Decompose a reward matrix, in float64."""
    values = np.linalg.svd(np.asarray(rewards, dtype=np.float64), compute_uv=False)
    prefixes, tokens = rewards.shape
    return Spectrum(prefixes, tokens, values)


def spectra(rewards: Matrix, counts: Sequence[int]) -> list[Spectrum]:
    """The spectrum of the first N prefixes, for each N.

    Raises:
        InvalidSetting: an N that is not between 1 and the number of prefixes.
    """
    if wrong := [count for count in counts if not 1 <= count <= len(rewards)]:
        raise InvalidSetting(f"got {wrong[0]} prefixes, expected 1 to {len(rewards)}")
    return [spectrum(rewards[:count]) for count in counts]


@torch.inference_mode()
def reward_matrix(
    reward: RewardModel,
    prefixes: Sequence[Sequence[int]],
    tokens: Int[np.ndarray, " tokens"],
    attribute: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Matrix:
    """R[x, v] = r(x · v), unclamped and before any sigmoid, in float64.

    A Q-head costs one forward of each prefix, and is multiplied in float64. A V-head costs one token forward for each
    cell, in the model's precision; load it in float32.

    Args:
        reward: any head.
        prefixes: token ids.
        tokens: the columns, token ids.
        attribute: which reward; default the first.
        progress: called with the prefixes done and the prefixes in all.
    """
    column = reward.card.attribute_index(attribute)
    columns = torch.as_tensor(tokens, device=reward.base.device)
    network, rows = reward.network, []
    for done, prefix in enumerate(prefixes, start=1):
        cache = PrefixCache(network.trunk, depths=[LAST])
        batch = reward.base.batch([prefix])
        cache.feed(*network.with_bos(batch.ids, batch.mask))
        rows.append(cache.hidden(LAST) if isinstance(network.head, QHead) else _v_row(network, cache, columns))
        progress(done, len(prefixes))
    whole = torch.cat(rows).double()
    if isinstance(network.head, QHead):
        whole = network.head.in_double()(whole)[:, columns]
    return whole[..., column].cpu().numpy()


def _v_row(
    network: RewardNetwork, cache: PrefixCache, tokens: Int[Tensor, " tokens"]
) -> Float[Tensor, "1 tokens attributes"]:
    blocks = tokens[None].split(BLOCK_TOKENS, dim=1)
    return torch.cat([network.head(cache.peek(block).last_hidden_state) for block in blocks], dim=1)


def draw_cells(
    texts: Sequence[Sequence[int]], vocabulary: int, prefixes: int, tokens: int | None, seed: int
) -> tuple[list[Sequence[int]], Int[np.ndarray, " tokens"]]:
    """Rows and columns for a reward matrix: a prefix of random length of some texts, and some tokens.

    Args:
        texts: token ids.
        vocabulary: how many token ids there are.
        prefixes: how many rows.
        tokens: how many columns; None for the vocabulary.
        seed: for both.

    Raises:
        InvalidSetting: fewer texts than prefixes, or tokens than columns.
    """
    if not 1 <= prefixes <= len(texts):
        raise InvalidSetting(f"got {prefixes} prefixes, expected 1 to {len(texts)}, one for each text")
    if tokens is not None and not 1 <= tokens <= vocabulary:
        raise InvalidSetting(f"got {tokens} tokens, expected 1 to the vocabulary's {vocabulary}")
    draw = np.random.default_rng(seed)
    chosen = [texts[i] for i in draw.permutation(len(texts))[:prefixes]]
    rows = [ids[: int(draw.integers(1, len(ids) + 1))] for ids in chosen]
    columns = np.arange(vocabulary) if tokens is None else np.sort(draw.permutation(vocabulary)[:tokens])
    return rows, columns
