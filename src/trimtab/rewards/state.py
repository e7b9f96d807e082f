"""The per-request half of a reward: a batch of prefixes whose candidates it scores. Three kinds, one protocol."""

from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trimtab.errors import InvalidSetting
from trimtab.frozen.cache import LAST, PrefixCache
from trimtab.frozen.memory import Memory
from trimtab.rewards.heads import QHead, VHead
from trimtab.rewards.network import RewardNetwork


@final
class QState:
    """ARM with its own trunk: one one-token forward a step, whatever the number of candidates."""

    def __init__(self, network: RewardNetwork, memory: Memory | None = None):
        assert isinstance(network.head, QHead)
        self._network, self._head = network, network.head
        self._cache = PrefixCache(network.trunk, [LAST], memory)

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, BOS before them, in one forward."""
        self._cache.clear()
        self._cache.feed(*self._network.with_bos(ids, mask))

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score candidates from the hidden state of each prefix."""
        return score_next(self._head, self._cache.hidden(LAST), candidates)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix, in one forward."""
        self._cache.feed(tokens[:, None])

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes."""
        self._cache.select(rows)

    def rollback(self, tokens: int) -> None:
        """Take back tokens."""
        self._cache.rollback(tokens)


@final
class HostedQState:
    """ARM on the steered model's own hidden state: no forward of its own; the host's cache does all the moving."""

    def __init__(self, head: QHead, host: PrefixCache, depth: int, norm: nn.Module | None):
        self._head, self._host, self._depth, self._norm = head, host, depth, norm

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Nothing to do: the host has been fed the prompts."""

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score candidates from the host's hidden state, the final norm applied where it was read below the top."""
        hidden = self._host.hidden(self._depth)
        return score_next(self._head, hidden if self._norm is None else self._norm(hidden), candidates)

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Nothing to do: the host advances."""

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Nothing to do: the host selects."""

    def rollback(self, tokens: int) -> None:
        """Nothing to do: the host rolls back."""


@final
class VState:
    """RAD: every candidate run behind the prefix, all k in one forward under a block mask (2310.09520).

    Differs from the paper's code: one cache for all candidates in place of k copies, and the chosen candidate's column
    is kept, so that a step costs one forward of k tokens and no other.
    """

    def __init__(self, network: RewardNetwork, memory: Memory | None = None):
        assert isinstance(network.head, VHead)
        self._network, self._head = network, network.head
        self._cache = PrefixCache(network.trunk, memory=memory)
        self._candidates: Tensor | None = None

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Encode prompts, BOS before them, in one forward."""
        self._candidates = None
        self._cache.clear()
        self._cache.feed(*self._network.with_bos(ids, mask))

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Run the candidates behind their prefixes and score each.

        Raises:
            InvalidSetting: candidates is None.
        """
        if candidates is None:
            raise InvalidSetting("a V-head scores each candidate with a forward of its own: expected a finite top_k")
        known = candidates.clamp_max(self._network.trunk.get_input_embeddings().weight.shape[0] - 1)
        self._candidates = candidates
        return self._head.link(self._head(self._cache.peek(known).last_hidden_state))

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Append a token to every prefix: a candidate's column is kept; any other token costs a forward."""
        if choice is None and self._candidates is not None:
            found = self._candidates == tokens[:, None]
            if bool(found.any(1).all()):
                choice = found.int().argmax(1)
        if choice is None or self._candidates is None:
            self._cache.feed(tokens[:, None])
        else:
            self._cache.keep(choice)
        self._candidates = None

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Fork, re-order or drop prefixes, their scored candidates with them."""
        self._cache.select(rows)
        if self._candidates is not None:
            self._candidates = self._candidates[rows]

    def rollback(self, tokens: int) -> None:
        """Take back tokens; the scored candidates are forgotten."""
        self._cache.rollback(tokens)
        self._candidates = None


def score_next(
    head: QHead, hidden: Float[Tensor, "rows hidden"], candidates: Int[Tensor, "rows k"] | None
) -> Float[Tensor, "rows k attributes"]:
    """A Q-head's rewards; ids past its vocabulary (rows that pad a larger model's) count as its last."""
    if candidates is not None:
        candidates = candidates.clamp_max(head.vocabulary_size - 1)
    return head.link(head(hidden, candidates))
