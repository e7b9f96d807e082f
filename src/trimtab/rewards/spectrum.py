"""The spectrum of a reward: the singular values and the rank of its matrix of rewards, prefixes × next tokens."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int

from trimtab.errors import InvalidData, InvalidSetting, NonFiniteReward
from trimtab.models.frozen_lm import PromptBatch
from trimtab.rewards.reward_model import RewardModel

Matrix = Float[np.ndarray, "prefixes tokens"]


@final
@dataclass(frozen=True)
class Spectrum:
    """The singular values of a reward matrix, and its ranks.

    Attributes:
        prefixes, tokens: the matrix's shape.
        values: the singular values, largest first.
    """

    prefixes: int
    tokens: int
    values: Float[np.ndarray, " values"]

    @property
    def threshold(self) -> float:
        """s₁ · max(N, |V|) · ε of float32. A singular value below it is a rounding error."""
        return float(self.values[0] * max(self.prefixes, self.tokens) * np.finfo(np.float32).eps)

    @property
    def numerical_rank(self) -> int:
        """The number of singular values above the threshold (2407.04615)."""
        return int((self.values > self.threshold).sum())

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values as shares of their sum; 1 to the rank, and 0 of a zero matrix."""
        if not self.values.any():
            return 0.0
        shares = self.values / self.values.sum()
        shares = shares[shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum()))


def spectrum(rewards: Matrix) -> Spectrum:
    """The singular values of a reward matrix, computed in float64.

    Raises:
        InvalidData: a value is NaN or infinite.
    """
    if not np.isfinite(rewards).all():
        raise InvalidData("got a reward matrix with values that are not finite, expected numbers")
    values = np.linalg.svd(np.asarray(rewards, dtype=np.float64), compute_uv=False)
    prefixes, tokens = rewards.shape
    return Spectrum(prefixes, tokens, values)


def spectra(rewards: Matrix, counts: Sequence[int]) -> list[Spectrum]:
    """The spectrum of the first N prefixes, for each N.

    Raises:
        InvalidSetting: an N is not between 1 and the number of prefixes.
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

    A Q-head costs one forward per prefix. A V-head costs one token forward per cell, in the model's precision; load it
    in float32.

    Args:
        reward: the reward.
        prefixes: the rows, token ids.
        tokens: the columns, token ids.
        attribute: the attribute; default the first.
        progress: called with the number of prefixes done and of all prefixes.

    Raises:
        NonFiniteReward: a cell is NaN or infinite.
    """
    column = reward.card.attribute_index(attribute)
    columns = torch.as_tensor(tokens, device=reward.base.device)
    rows = _counted(reward, prefixes, progress)
    found = reward.network.head.score_next_tokens(reward.network.encoder, rows, columns)[..., column].cpu().numpy()
    if not np.isfinite(found).all():
        raise NonFiniteReward(f"the reward {reward.name!r} has values that are not finite; fetch or train it again")
    return np.asarray(found)


def _counted(
    reward: RewardModel, prefixes: Sequence[Sequence[int]], progress: Callable[[int, int], None]
) -> Iterator[PromptBatch]:
    """Each prefix as a batch of one row; reports progress when the next one is asked for."""
    for done, prefix in enumerate(prefixes, start=1):
        yield reward.base.batch([prefix])
        progress(done, len(prefixes))


def draw_cells(
    texts: Sequence[Sequence[int]], vocabulary: int, prefixes: int, tokens: int | None, seed: int
) -> tuple[list[Sequence[int]], Int[np.ndarray, " tokens"]]:
    """Draw the rows and columns of a reward matrix: prefixes of random length, and tokens.

    Args:
        texts: token ids.
        vocabulary: the number of token ids.
        prefixes: the number of rows, each from another text.
        tokens: the number of columns; None for the whole vocabulary.
        seed: of both draws.

    Raises:
        InvalidSetting: there are fewer texts than rows, or fewer token ids than columns; or the seed is below 0.
    """
    if seed < 0:
        raise InvalidSetting(f"got seed={seed}, expected at least 0")
    if not 1 <= prefixes <= len(texts):
        raise InvalidSetting(f"got {prefixes} prefixes, expected 1 to {len(texts)}, one for each text")
    if tokens is not None and not 1 <= tokens <= vocabulary:
        raise InvalidSetting(f"got {tokens} tokens, expected 1 to the vocabulary's {vocabulary}")
    draw = np.random.default_rng(seed)
    chosen = [texts[i] for i in draw.permutation(len(texts))[:prefixes]]
    rows = [ids[: int(draw.integers(1, len(ids) + 1))] for ids in chosen]
    columns = np.arange(vocabulary) if tokens is None else np.sort(draw.permutation(vocabulary)[:tokens])
    return rows, columns
