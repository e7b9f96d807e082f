"""The KV cache of a batch of prefixes: fed, forked, re-ordered, joined and rolled back."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel
from transformers.utils import ModelOutput

from trimtab.errors import InvalidSetting
from trimtab.models.masks import attention_masks
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

LAST = -1


@final
class KVCache:
    """The keys and values of a batch of prefixes, left-padded to one length.

    Every layer keeps every key, sliding-window layers too: their window is a mask. So a rollback is exact on every
    architecture, and costs the memory that a window would have saved.

    Args:
        model: a decoder, with or without its language-model head.
        depths: the layers whose hidden states are kept (`LAST`: after the final norm); `hidden` reads them.
        prefix_cache: gives prefixes that were encoded before, and receives those that are dropped here.
        usage: counts tokens and forward calls; default: the prefix cache's count, or a new one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        depths: Iterable[int] = (),
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
    ):
        self.model = model
        self.depths = tuple(depths)
        self.prefix_cache = prefix_cache
        self.usage = usage or (prefix_cache.usage if prefix_cache else Usage())
        self._store = prefix_cache.of(model) if prefix_cache else None
        self.clear()

    def clear(self) -> None:
        """Drop all prefixes."""
        self._cache = DynamicCache()
        self._mask: Tensor | None = None
        self._ids: Tensor | None = None
        self._padded = False
        self._proposed = 0
        self._candidates = torch.empty(0, 0, dtype=torch.long)
        self._history: dict[int, Tensor] = {}

    @property
    def slots(self) -> int:
        """Columns of the cache: the tokens of the longest prefix, padding included."""
        return 0 if self._mask is None else self._mask.shape[1]

    @property
    def rows(self) -> int:
        """Number of prefixes."""
        return 0 if self._mask is None else self._mask.shape[0]

    @property
    def prefixes(self) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        """The token ids of all prefixes, left-padded, and a mask that is False where they are padding."""
        assert self._ids is not None, "feed a prefix first"
        assert self._mask is not None
        return self._ids, self._mask

    def hidden(self, depth: int) -> Float[Tensor, "rows hidden"]:
        """The hidden state of each prefix's last token at one of `depths`."""
        return self._history[depth][:, -1]

    def feed(
        self, ids: Int[Tensor, "rows new"], mask: Bool[Tensor, "rows new"] | None = None, logits: int = 1
    ) -> ModelOutput:
        """Append tokens to every prefix, in one forward call.

        Args:
            ids: the new tokens. Only the first feed may be padded, on the left.
            mask: False where `ids` is padding; default: nowhere.
            logits: return logits of this many last tokens, if the model has a head.

        Returns:
            The model's output.
        """
        self._drop_proposed()
        new = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        if self._mask is None:
            self._padded = mask is not None and not bool(mask.all())
            held = self._recall(ids, new, logits)
            self._ids, self._mask = ids, new
            ids = ids[:, held:]
        else:
            assert self._ids is not None
            self._ids, self._mask = torch.cat([self._ids, ids], dim=1), torch.cat([self._mask, new], dim=1)
        positions = (self._mask.cumsum(1) - 1).clamp_min(0)[:, -ids.shape[1] :]
        output = self._forward(ids, positions, self._mask if self._padded else None, logits)
        self._remember(output)
        return output

    def propose(self, candidates: Int[Tensor, "rows k"], after: Int[Tensor, "rows k"] | None = None) -> ModelOutput:
        """Run k alternative next tokens of every prefix in one forward call, each blind to the others.

        A candidate sees its prefix and itself: a block mask, instead of k copies of the cache. `accept` then appends
        one of them; anything else drops them.

        Args:
            candidates: token ids.
            after: the slot that each candidate follows, for candidates further back (-1: first tokens); default: the
                last slot.
        """
        assert self._mask is not None, "feed a prefix before proposing"
        self._drop_proposed()
        after = torch.full_like(candidates, self.slots - 1) if after is None else after
        lengths = functional.pad(self._mask.cumsum(1), (1, 0))
        positions = lengths.gather(1, after + 1)
        self._proposed, self._candidates = candidates.shape[1], candidates
        return self._forward(candidates, positions, self._block_mask(positions, after))

    def accept(self, choice: Int[Tensor, " rows"]) -> None:
        """Append, without a forward, the candidate in column `choice[row]` of the last `propose`."""
        assert self._mask is not None
        assert self._ids is not None
        assert self._proposed, "propose before accepting"
        kept = self._candidates.gather(1, choice[:, None])
        self._ids = torch.cat([self._ids, kept], dim=1)
        start = self.slots
        for layer in self._cache.layers:
            layer.keys = _keep_column(layer.keys, start, choice)
            layer.values = _keep_column(layer.values, start, choice)
        self._mask = torch.cat([self._mask, self._mask.new_ones(self.rows, 1)], dim=1)
        self._proposed = 0

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was: fork, re-order or drop. The prefix cache receives what is dropped."""
        if self._mask is None or self._ids is None:
            return
        if self._store is not None:
            staying = set(rows.tolist())
            self._keep([row for row in range(self.rows) if row not in staying])
        self._cache.batch_select_indices(rows)
        self._mask, self._ids = self._mask[rows], self._ids[rows]
        if self._proposed:
            self._candidates = self._candidates[rows]
        self._history = {depth: states[rows] for depth, states in self._history.items()}

    def remember(self) -> None:
        """Put every prefix into the prefix cache; `select` does it for the rows that it drops."""
        self._keep(range(self.rows))

    def join(self, other: "KVCache") -> None:
        """Append the rows of another cache of the same model; the shorter rows are padded on the left.

        Hidden states at a depth that only one of the caches keeps are zero in the rows of the other.
        """
        if other._mask is None:
            return
        if self._mask is None:
            self._take(other)
            return
        self.trim()
        other.trim()
        slots = max(self.slots, other.slots)
        self._padded = self._padded or other._padded or self.slots != other.slots
        for layer, theirs in zip(self._cache.layers, other._cache.layers, strict=True):
            layer.keys = _stacked(layer.keys, theirs.keys, slots, axis=2)
            layer.values = _stacked(layer.values, theirs.values, slots, axis=2)
        self.depths = tuple(dict.fromkeys((*self.depths, *other.depths)))
        self._history = {depth: self._joined_history(other, depth) for depth in self.depths}
        assert self._ids is not None
        assert other._ids is not None
        self._ids = _stacked(self._ids, other._ids, slots)
        self._mask = _stacked(self._mask, other._mask, slots)

    def trim(self) -> None:
        """Drop the leftmost columns that are padding in every row."""
        if self._mask is None or self._ids is None:
            return
        self._drop_proposed()
        first = int(self._mask.any(0).int().argmax())
        for layer in self._cache.layers if first else ():
            layer.keys, layer.values = layer.keys[:, :, first:], layer.values[:, :, first:]
        self._mask, self._ids = self._mask[:, first:], self._ids[:, first:]
        self._history = {depth: states[:, -self.slots :] for depth, states in self._history.items()}

    def _take(self, other: "KVCache") -> None:
        self._cache, self._mask, self._ids, self._padded = other._cache, other._mask, other._ids, other._padded
        self.depths, self._history = other.depths, other._history

    def _joined_history(self, other: "KVCache", depth: int) -> Tensor:
        """The last hidden states that both caches have; recalled tokens have none."""
        ours, theirs = self._history.get(depth), other._history.get(depth)
        known = theirs if ours is None else ours
        assert known is not None
        ours = known.new_zeros(self.rows, *known.shape[1:]) if ours is None else ours
        theirs = known.new_zeros(other.rows, *known.shape[1:]) if theirs is None else theirs
        length = min(ours.shape[1], theirs.shape[1])
        return torch.cat([ours[:, -length:], theirs[:, -length:]])

    def rollback(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of every prefix.

        Raises:
            InvalidSetting: the shortest prefix would have no token left, or no hidden state, because its tokens came
                from the prefix cache.
        """
        held = 1 if self._mask is None else int(self._mask.sum(1).min())
        held = min([held, *(states.shape[1] for states in self._history.values())])
        if not 0 <= tokens < held:
            raise InvalidSetting(
                f"got a rollback of {tokens} tokens, expected 0 to {held - 1}, one short of the shortest row"
            )
        self._drop_proposed()
        if tokens and self._mask is not None and self._ids is not None:
            self._cache.crop(-tokens)
            self._mask, self._ids = self._mask[:, :-tokens], self._ids[:, :-tokens]
            self._history = {depth: states[:, :-tokens] for depth, states in self._history.items()}

    def _recall(self, ids: Tensor, mask: Tensor, logits: int) -> int:
        """Start from what the prefix cache holds; returns the number of columns that gives, the same for all rows.

        Columns that only some rows hold are encoded again: padding within a row would cost as much.
        """
        if self._store is None:
            return 0
        texts = [row[-count:] for row, count in zip(ids.tolist(), mask.sum(1).tolist(), strict=True)]
        with self._store.lock:
            found = [self._store.find(text[:-logits]) for text in texts]
            if not any(found):
                return 0
            width = ids.shape[1] - max(len(text) - len(held) for text, held in zip(texts, found, strict=True))
            start = [max(width - (ids.shape[1] - len(text)), 0) for text in texts]
            self._cache = self._store.load([held[:count] for held, count in zip(found, start, strict=True)], width)
        return width

    def _keep(self, rows: Sequence[int]) -> None:
        """Put prefixes into the prefix cache."""
        assert self._mask is not None
        assert self._ids is not None
        if self._store is None or not rows:
            return
        ids, lengths = self._ids.tolist(), self._mask.sum(1).tolist()
        columns = [range(self.slots - lengths[row], self.slots) for row in rows]
        texts = [[ids[row][column] for column in of_row] for row, of_row in zip(rows, columns, strict=True)]
        self._store.save(self._cache, rows, texts, columns)

    def _forward(self, ids: Tensor, positions: Tensor, mask: Any, logits: int = 1) -> ModelOutput:
        extra: dict[str, Any] = {}
        if self.model.get_output_embeddings() is not None:
            extra["logits_to_keep"] = logits
        if set(self.depths) - {LAST} or (self.depths and extra):
            extra["output_hidden_states"] = True
        self.usage.count(ids.numel())
        return self.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **extra,
        )

    def _remember(self, output: ModelOutput) -> None:
        for depth in self.depths:
            states = output.hidden_states[depth] if "hidden_states" in output else output.last_hidden_state
            known = self._history.get(depth)
            self._history[depth] = states if known is None else torch.cat([known, states], dim=1)

    def _drop_proposed(self) -> None:
        if self._proposed:
            self._cache.crop(-self._proposed)
            self._proposed = 0

    def _block_mask(self, positions: Int[Tensor, "rows k"], after: Int[Tensor, "rows k"]) -> Tensor | dict[str, Tensor]:
        assert self._mask is not None
        rows, k = after.shape
        slots = torch.arange(self.slots, device=after.device)
        before = self._mask[:, None] & (slots <= after[..., None])
        themselves = torch.eye(k, dtype=torch.bool, device=after.device).expand(rows, k, k)
        column_positions = torch.cat([self._mask.cumsum(1) - 1, positions], dim=1)
        return attention_masks(self.model, torch.cat([before, themselves], dim=-1), column_positions, positions)


def _keep_column(
    states: Float[Tensor, "rows heads columns size"], start: int, choice: Int[Tensor, " rows"]
) -> Float[Tensor, "rows heads kept size"]:
    chosen = (start + choice)[:, None, None, None].expand(-1, states.shape[1], 1, states.shape[3])
    return torch.cat([states[:, :, :start], states.gather(2, chosen)], dim=2)


def _stacked(first: Tensor, second: Tensor, slots: int, axis: int = 1) -> Tensor:
    """Both along the rows, each padded on the left with zeros to this many slots."""
    after = 2 * (first.dim() - 1 - axis)
    padded = (functional.pad(each, (*[0] * after, slots - each.shape[axis], 0)) for each in (first, second))
    return torch.cat(list(padded))
