"""One forward call of a model over new tokens, and of the networks that read its hidden states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from trimtab.models.growing_cache import GrowingCache
from trimtab.models.side_network import LAST, Reader, SideNetwork


class Called(NamedTuple):
    """What a forward call returns.

    Attributes:
        logits: of the last tokens; None if the model has no head.
        last_hidden_state: of a model without a head; else None.
        states: what each reader makes of the new tokens.
    """

    logits: Any
    last_hidden_state: Any
    states: dict[Reader, Tensor]

    def first(self, rows: int) -> "Called":
        """The first rows, in memory of their own."""
        logits, hidden = (each if each is None else each[:rows].clone() for each in self[:2])
        return Called(logits, hidden, {reader: states[:rows].clone() for reader, states in self.states.items()})


@final
@dataclass(frozen=True)
class ForwardCall:
    """A forward call, without its tokens: two that are equal compute the same.

    Attributes:
        model: a decoder, with or without its language-model head.
        readers: what is kept of its hidden states.
        logits: how many last tokens get logits, if the model has a head.
    """

    model: PreTrainedModel
    readers: tuple[Reader, ...] = ()
    logits: int = 1

    @property
    def networks(self) -> list[SideNetwork]:
        """The readers that have keys and values of their own."""
        return [reader for reader in self.readers if not isinstance(reader, int)]

    def __call__(
        self,
        caches: Sequence[GrowingCache],
        ids: Int[Tensor, "rows new"],
        positions: Int[Tensor, "rows new"],
        masks: Any,
        visible: Bool[Tensor, "rows new slots"] | None,
    ) -> Called:
        """Call the model and its readers.

        Args:
            caches: the keys and values of the model and of each of `networks`, to which the new tokens' are added.
            ids: the new tokens.
            positions: their positions in their texts.
            masks: their attention masks, as the model takes them.
            visible: the columns that each of them sees; None: all up to its own.
        """
        output = self.run_model(caches[0], ids, positions, masks)
        states: dict[Reader, Tensor] = {}
        for network, cache in zip(self.networks, caches[1:], strict=True):
            states[network] = network([output.hidden_states[tap] for tap in network.taps], visible, cache)
        for depth in (reader for reader in self.readers if isinstance(reader, int)):
            states[depth] = output.hidden_states[depth] if "hidden_states" in output else output.last_hidden_state
        return Called(output.get("logits"), output.get("last_hidden_state"), states)

    def run_model(self, cache: GrowingCache, ids: Tensor, positions: Tensor, masks: Any) -> ModelOutput:
        """Call the model alone. Arguments as for the whole."""
        extra: dict[str, Any] = {}
        if self.model.get_output_embeddings() is not None:
            extra["logits_to_keep"] = self.logits
        if set(self.readers) - {LAST} or (self.readers and extra):
            extra["output_hidden_states"] = True
        return self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=masks,
            past_key_values=cache,
            use_cache=True,
            **extra,
        )
