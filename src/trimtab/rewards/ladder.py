"""The ladder trunk: a few narrow layers over several of a language model's hidden states."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from trimtab.models.grouped_attention import grouped_attention, packs
from trimtab.rewards.taps import check_ladder_width

LEAST_DEVIATION = 1e-3  # of a normalised feature; a feature that never changes keeps a finite scale
FEED_FORWARD = 8 / 3  # hidden units of the feed-forward part per unit of width, as in Llama


@final
class Ladder(nn.Module):
    """A side network over a frozen model's hidden states h_l at a few depths l_1 < … < l_n.

        x_0 = 0 ;  x_i = Layer_i(x_{i−1} + W_i · (s_i ∘ norm(h_{l_i}))) ;  h = norm(x_n)

    s_i gives every feature of h the same spread, so that none is too faint to learn from; see `fit_scale`.

    Each layer looks back at keys and values of its own, one narrow head of them per token. So no second model runs, and
    training needs no gradient through the language model. The layers have no positions of their own: the hidden states
    tell them.

    Differs from the paper: ladder side-tuning (2206.06522) adapts the language model's own output. Here the ladder is
    the trunk of a reward, its layers are fresh, and the hidden states are normalised, without a gate.

    Args:
        hidden_size: of the language model.
        taps: the depths; the last layer's state is taken after the final norm.
        width: the size of the ladder's own states.
        heads: the number of attention heads; they share one head of keys and values (1911.02150).

    Raises:
        InvalidSetting: the width is not a multiple of the number of heads.
    """

    scale: Tensor

    def __init__(self, hidden_size: int, taps: Sequence[int], width: int, heads: int):
        super().__init__()
        check_ladder_width(width, heads)
        self.taps = tuple(taps)
        self.rungs = by_columns(torch.randn(len(self.taps), hidden_size, width) / hidden_size**0.5)
        self.register_buffer("scale", torch.ones(len(self.taps), 1, hidden_size))
        self.layers = nn.ModuleList(LadderLayer(width, heads) for _ in self.taps)
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(
        self,
        states: Sequence[Float[Tensor, "rows new hidden"]],
        visible: Bool[Tensor, "rows new slots"] | None = None,
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "rows new width"]:
        """The ladder's state at each new token; see `SideNetwork`."""
        taken = normed_taps([each.flatten(0, 1) for each in states], self.rungs.dtype) * self.scale
        rungs = climb(taken, self.rungs).unflatten(1, states[0].shape[:2])
        allowed = None if visible is None else visible[:, None]
        x = torch.zeros_like(rungs[0])
        for number, layer in enumerate(self.layers):
            x = layer(x + rungs[number], allowed, cache, number)
        return self.norm(x)

    def fit_scale(self, states: Sequence[Float[Tensor, "tokens hidden"]]) -> None:
        """Set s from the hidden states of some tokens at each of `taps`: one over each feature's deviation there."""
        self.scale.copy_(even_scale(states))


@final
class LadderLayer(nn.Module):
    """A pre-norm transformer layer: causal attention, then a gated feed-forward part."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        inner = round(width * FEED_FORWARD)
        self.heads, size = heads, width // heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.queries_key_value = nn.Linear(width, width + 2 * size, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.gate_and_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "rows new width"],
        allowed: Bool[Tensor, "rows 1 new slots"] | None,
        cache: DynamicCache | None,
        number: int,
    ) -> Float[Tensor, "rows new width"]:
        """The layer's output.

        Args:
            x: its input.
            allowed: what each token sees; None: all up to itself.
            cache: the keys and values of earlier tokens.
            number: the layer's number in the cache.
        """
        projected = self._by_head(self.queries_key_value(self.attention_norm(x)))
        queries, key, value = projected.split([self.heads, 1, 1], dim=1)
        if cache is not None:
            key, value = cache.update(key, value, number)
        x = x + self.attention_out(_attended(queries, key, value, allowed).transpose(1, 2).flatten(2))
        gate, up = self.gate_and_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)

    def key_value(
        self, x: Float[Tensor, "rows new width"]
    ) -> tuple[Float[Tensor, "rows 1 new size"], Float[Tensor, "rows 1 new size"]]:
        """The keys and values of some inputs alone."""
        weights = self.queries_key_value.weight[x.shape[-1] :]
        key, value = self._by_head(functional.linear(self.attention_norm(x), weights)).split(1, dim=1)
        return key, value

    def _by_head(self, projected: Float[Tensor, "rows new all"]) -> Float[Tensor, "rows heads new size"]:
        size = self.attention_out.out_features // self.heads
        return projected.unflatten(-1, (-1, size)).transpose(1, 2)


def _attended(
    queries: Float[Tensor, "rows heads new size"],
    key: Float[Tensor, "rows 1 slots size"],
    value: Float[Tensor, "rows 1 slots size"],
    allowed: Bool[Tensor, "rows 1 new slots"] | None,
) -> Float[Tensor, "rows heads new size"]:
    """Attention of several heads to one head of keys and values."""
    if queries.shape[2] == 1 or packs(queries, key, allowed):
        return grouped_attention(queries, key, value, allowed)
    return functional.scaled_dot_product_attention(
        queries, key, value, allowed, is_causal=allowed is None, enable_gqa=True
    )


def normed_taps(
    states: Sequence[Float[Tensor, "tokens hidden"]], dtype: torch.dtype
) -> Float[Tensor, "taps tokens hidden"]:
    """Hidden states at each of some depths, each normalised."""
    taken = torch.stack(list(states)).to(dtype)
    return functional.layer_norm(taken, taken.shape[-1:])


def even_scale(states: Sequence[Float[Tensor, "tokens hidden"]]) -> Float[Tensor, "taps 1 hidden"]:
    """One over the deviation of each normalised feature, from the hidden states of some tokens at each depth."""
    return 1 / (normed_taps(states, torch.float32).std(dim=1, keepdim=True) + LEAST_DEVIATION)


def climb(
    taken: Float[Tensor, "taps tokens hidden"], rungs: Float[Tensor, "taps hidden width"]
) -> Float[Tensor, "taps tokens width"]:
    """The rungs' product with hidden states, which for one token reads the weights as `by_columns` stores them."""
    if taken.shape[1] > 1:
        return torch.bmm(taken, rungs)
    return torch.bmm(rungs.mT, taken.mT).mT


def by_columns(weights: Float[Tensor, "*batch rows columns"]) -> nn.Parameter:
    """The same weights, stored column by column, in the order in which a CPU reads them for one token."""
    return nn.Parameter(weights.detach().mT.contiguous().mT)
