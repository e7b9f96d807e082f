"""The training of a draft head: from every token of a text it guesses the next ones, step by step, as it will draft."""

from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from trimtab.drafts.head import DraftHead
from trimtab.models.frozen_lm import FrozenLM

Texts = Int[Tensor, "rows tokens"]


class Targets(NamedTuple):
    """What the language model writes next, behind every token of some texts.

    Attributes:
        ids: its candidates, the most likely first.
        probabilities: of the candidates, which sum to 1.
        states: its hidden states at each of the head's taps.
    """

    ids: Int[Tensor, "rows tokens k"]
    probabilities: Float[Tensor, "rows tokens k"]
    states: tuple[Float[Tensor, "rows tokens hidden"], ...]


@final
class DraftTask(nn.Module):
    """The loss of a draft head on texts, padded on the right.

    At each token t the head takes what it will have when it drafts: the model's states up to t, the token behind, and
    then its own guesses. The loss of step j is the cross-entropy from the model's probabilities of the token t + 1 + j,
    over its candidates that the head knows. So step j learns behind the text's own tokens, as EAGLE-3 trains.

    Args:
        base: the language model, which only reads.
        head: what learns.
        steps: how many tokens to guess behind each token.
        top_k: the model's candidates; it samples from them alone.
    """

    places: Tensor

    def __init__(self, base: FrozenLM, head: DraftHead, steps: int, top_k: int):
        super().__init__()
        self._base = (base,)  # in a tuple: no part of what is trained
        self.head, self.steps, self.top_k = head, steps, top_k
        places = torch.full((base.vocabulary_size,), -1, dtype=torch.long, device=base.device)
        places[head.tokens] = torch.arange(len(head.tokens), device=base.device)
        self.register_buffer("places", places, persistent=False)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        (base,) = self._base
        return base.device

    def forward(self, ids: Texts, mask: Bool[Tensor, "rows tokens"], targets: Targets) -> Float[Tensor, ""]:
        """The mean loss of the head's guesses, in nats."""
        loss, count = self.sums(ids, mask, targets)
        return loss / count.clamp_min(1)

    def sums(
        self, ids: Texts, mask: Bool[Tensor, "rows tokens"], targets: Targets
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The sum of the losses, and what to divide it by."""
        losses, counts = [], []
        for step, guess in enumerate(self.guesses(targets, ids, mask), start=1):
            of_step, known = self._loss(guess, targets, step)
            losses.append((of_step * mask[:, step:]).sum())
            counts.append((known * mask[:, step:]).sum())
        return torch.stack(losses).sum(), torch.stack(counts).sum()

    @torch.no_grad()
    def read(self, ids: Texts) -> Targets:
        """Run the language model over texts."""
        (base,) = self._base
        output = base.model(input_ids=ids, use_cache=False, output_hidden_states=True)
        kept, candidates = output.logits.topk(min(self.top_k, output.logits.shape[-1]), dim=-1)
        states = tuple(output.hidden_states[tap] for tap in self.head.taps)
        return Targets(candidates, kept.float().softmax(-1), states)

    def guesses(
        self, targets: Targets, ids: Texts, mask: Bool[Tensor, "rows tokens"]
    ) -> list[Float[Tensor, "rows places frequent"]]:
        """The logits of each step: of step j behind all tokens but the last j, as in `forward`."""
        tokens = ids.shape[1]
        cache, state = DynamicCache(), torch.empty(0)
        state = self.head(targets.states, cache=cache)
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril()
        seen, own = causal & mask[:, None], torch.eye(tokens, dtype=torch.bool, device=ids.device)
        found = []
        for step in range(1, self.steps + 1):
            seen = torch.cat([seen, own.expand(len(ids), -1, -1)], dim=2)
            following = functional.pad(ids[:, step:], (0, step))
            guess = self.head.guess(state, following, seen[:, None], cache)
            found.append(self.head.logits(guess[:, : tokens - step]))
            state = self.head.onward(guess)
        return found

    def _loss(
        self, guess: Float[Tensor, "rows places frequent"], targets: Targets, step: int
    ) -> tuple[Float[Tensor, "rows places"], Float[Tensor, "rows places"]]:
        """The cross-entropy at each place, and the share of the model's probability that the head knows."""
        places = self.places[targets.ids[:, step:]]
        known = targets.probabilities[:, step:] * (places >= 0)
        logprobs = guess.float().log_softmax(-1).gather(-1, places.clamp_min(0))
        return -(known * logprobs).sum(-1), known.sum(-1)
