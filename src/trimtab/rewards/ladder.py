"""The ladder trunk: a few narrow layers over several of a language model's hidden states."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from trimtab.rewards.taps import check_ladder_width

ROPE_BASE = 10_000.0
FEED_FORWARD = 8 / 3  # hidden units of the feed-forward part per unit of width, as in Llama
EPS = 1e-6


@final
class Ladder(nn.Module):
    """A side network over a frozen model's hidden states h_l at a few depths l_1 < … < l_n.

        x_0 = 0 ;  x_i = Layer_i(x_{i−1} + W_i · rms(h_{l_i})) ;  h = rms(x_n)

    Each layer looks back at its own keys, a few hundred numbers per token. So no second model runs, and training needs
    no gradient through the language model.

    Differs from the paper: ladder side-tuning (2206.06522) adapts the language model's own output. Here the ladder is
    the trunk of a reward, its layers are fresh, and the hidden states are scaled by rms, without a gate.

    Args:
        hidden_size: of the language model.
        taps: the depths; the last layer's state is taken after the final norm.
        width: the size of the ladder's own states.
        heads: the number of attention heads.

    Raises:
        InvalidSetting: the width is not an even multiple of the number of heads.
    """

    def __init__(self, hidden_size: int, taps: Sequence[int], width: int, heads: int):
        super().__init__()
        check_ladder_width(width, heads)
        self.taps, self.width, self.head_size = tuple(taps), width, width // heads
        self.rungs = nn.ModuleList(nn.Linear(hidden_size, width, bias=False) for _ in self.taps)
        self.layers = nn.ModuleList(LadderLayer(width, heads) for _ in self.taps)
        self.norm = nn.RMSNorm(width, EPS)

    def forward(
        self,
        states: Sequence[Float[Tensor, "rows new hidden"]],
        positions: Int[Tensor, "rows new"],
        visible: Bool[Tensor, "rows new slots"] | None = None,
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "rows new width"]:
        """The ladder's state at each new token; see `SideNetwork`."""
        rotation = rotary(positions, self.head_size)
        allowed = None if visible is None else visible[:, None]
        x: Tensor | None = None
        for number, (rung, layer, tap) in enumerate(zip(self.rungs, self.layers, states, strict=True)):
            read = rung(functional.rms_norm(tap.to(self.norm.weight.dtype), tap.shape[-1:], eps=EPS))
            x = layer(read if x is None else x + read, rotation, allowed, cache, number)
        return self.norm(x)


@final
class LadderLayer(nn.Module):
    """A pre-norm transformer layer: causal attention with rotary positions, then a gated feed-forward part."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        inner = round(width * FEED_FORWARD)
        self.heads = heads
        self.attention_norm = nn.RMSNorm(width, EPS)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, EPS)
        self.gate_and_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "rows new width"],
        rotation: tuple[Tensor, Tensor],
        allowed: Bool[Tensor, "rows 1 new slots"] | None,
        cache: DynamicCache | None,
        number: int,
    ) -> Float[Tensor, "rows new width"]:
        """Args are the layer's input, `rotary`'s result, the mask (None: causal), the cache and the layer's number."""
        projected = self.queries_keys_values(self.attention_norm(x)).unflatten(-1, (3 * self.heads, -1))
        queries, keys, values = projected.transpose(1, 2).chunk(3, dim=1)
        queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        if cache is not None:
            keys, values = cache.update(keys, values, number)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=allowed, is_causal=allowed is None and queries.shape[2] > 1
        )
        x = x + self.attention_out(attended.transpose(1, 2).flatten(2))
        gate, up = self.gate_and_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


def rotary(
    positions: Int[Tensor, "rows new"], head_size: int
) -> tuple[Float[Tensor, "rows 1 new head_size"], Float[Tensor, "rows 1 new head_size"]]:
    """The cosines and sines of rotary position embeddings (2104.09864)."""
    frequencies = ROPE_BASE ** (-torch.arange(0, head_size, 2, device=positions.device) / head_size)
    angles = (positions[:, None, :, None] * frequencies).repeat(1, 1, 1, 2)
    return angles.cos(), angles.sin()


def rotate(
    states: Float[Tensor, "rows heads new head_size"], rotation: tuple[Tensor, Tensor]
) -> Float[Tensor, "rows heads new head_size"]:
    """Turn queries or keys by their positions."""
    cosines, sines = rotation
    first, second = states.chunk(2, dim=-1)
    return (states * cosines + torch.cat([-second, first], dim=-1) * sines).to(states.dtype)
