"""The network of a draft head: one narrow layer over a language model's hidden states and the token behind them."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from trimtab.models.quick_linear import quick_linear
from trimtab.rewards.ladder import LadderLayer, by_columns, climb, even_scale, normed_taps


@final
class DraftHead(nn.Module):
    """Guesses the tokens behind a text whose last token the language model has not read yet.

        u_t = Σ_i W_i (s_i ∘ norm(h_{l_i, t}))                    what the model made of the text up to token t
        z_1 = u_t + W_e norm(e(x_{t+1}))                          x_{t+1} is chosen, and not read
        y_j = norm(Layer(z_j | u_1 … u_t, z_1 … z_{j−1}))         its logits, E P y_j, are those of token t + 1 + j
        z_{j+1} = F y_j + W_e norm(e(x_{t+1+j}))                  x_{t+1+j} is drafted

    It is a side network: a `KVCache` keeps the layer's keys and values of u beside the model's own. E has the output
    embeddings of the most frequent tokens only; no other token is ever drafted.

    Differs from the papers: as in EAGLE-3 (2503.01840) the head reads several depths and goes on from its own state,
    and as in FR-Spec (2502.14856) its vocabulary is cut; here the layer is narrow, its keys and values of the text come
    from the model's states alone, and draft and model share the noise of sampling, so no text changes.

    Args:
        embedding: the language model's input embedding; never trained, never saved.
        output: its output embedding; the same.
        tokens: the ids of the tokens that are drafted.
        taps: the depths l_i; the last layer's state is taken after the final norm.
        width: the size of u, z and y.
        heads: the number of attention heads; they share one head of keys and values.
    """

    scale: Tensor
    tokens: Tensor
    output: Tensor

    def __init__(
        self,
        embedding: Float[Tensor, "vocabulary hidden"],
        output: Float[Tensor, "vocabulary hidden"],
        tokens: Int[Tensor, " frequent"],
        taps: Sequence[int],
        width: int,
        heads: int,
    ):
        super().__init__()
        hidden = embedding.shape[1]
        self.taps = tuple(taps)
        self._embedding = (embedding,)  # in a tuple: neither a parameter nor part of the state dict
        self.register_buffer("output", output[tokens], persistent=False)
        self.register_buffer("tokens", tokens)
        self.register_buffer("scale", torch.ones(len(self.taps), 1, hidden))
        self.rungs = by_columns(torch.randn(len(self.taps), hidden, width) / (len(self.taps) * hidden) ** 0.5)
        self.token = nn.Linear(hidden, width, bias=False)
        self.layer = LadderLayer(width, heads)
        self.norm = nn.LayerNorm(width, bias=False)
        self.onward = nn.Linear(width, width, bias=False)
        self.projection = nn.Linear(width, hidden, bias=False)

    def forward(
        self,
        states: Sequence[Float[Tensor, "rows new hidden"]],
        visible: Bool[Tensor, "rows new slots"] | None = None,
        cache: DynamicCache | None = None,
    ) -> Float[Tensor, "rows new width"]:
        """u of each new token; its keys and values go into the cache. See `SideNetwork`."""
        taken = normed_taps([each.flatten(0, 1) for each in states], self.rungs.dtype) * self.scale
        known = climb(taken, self.rungs).sum(0).unflatten(0, states[0].shape[:2])
        if cache is not None:
            cache.update(*self.layer.key_value(known), 0)
        return known

    def guess(
        self,
        state: Float[Tensor, "rows places width"],
        tokens: Int[Tensor, "rows places"],
        allowed: Bool[Tensor, "rows 1 places slots"] | None,
        cache: DynamicCache,
    ) -> Float[Tensor, "rows places width"]:
        """y of the next token, from u, or from F y of the guess before.

        Args:
            state: u or F y, of one or several places of each row.
            tokens: the token behind each.
            allowed: the columns of the cache that each place sees, those that this call adds included; None for all.
            cache: the keys and values of u, and of the guesses before.
        """
        (embedding,) = self._embedding
        read = functional.layer_norm(embedding[tokens].to(state.dtype), embedding.shape[1:])
        guessed: Tensor = self.norm(self.layer(state + self.token(read), allowed, cache, 0))
        return guessed

    def logits(self, guess: Float[Tensor, "*places width"]) -> Float[Tensor, "*places frequent"]:
        """The logits of the frequent tokens, in the order of `tokens`."""
        return quick_linear(self.projection(guess), self.output)

    def fit_scale(self, states: Sequence[Float[Tensor, "tokens hidden"]]) -> None:
        """Set s from the hidden states of some tokens at each of `taps`: one over each feature's deviation there."""
        self.scale.copy_(even_scale(states))
