"""The KV cache of a batch of prefixes: fed, forked, re-ordered, joined and rolled back."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from trimtab.errors import InvalidSetting
from trimtab.models.branches import Branches
from trimtab.models.cache_rows import blank_cache, join_caches, put_first
from trimtab.models.columns import Columns
from trimtab.models.forward_call import Called, ForwardCall
from trimtab.models.growing_cache import GrowingCache
from trimtab.models.masks import attention_masks, wants_mask
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.recordings import Recordings
from trimtab.models.side_network import Reader, SideNetwork
from trimtab.models.state_history import StateHistory, join_histories
from trimtab.models.usage import Usage


@final
class KVCache:
    """The keys and values of a batch of prefixes, left-padded to one length.

    Where rows keep different numbers of the tokens that were fed together, the others stay and are masked. Once there
    are many, the rows are moved together. Positions and windows count tokens, so this changes nothing.

    Every layer keeps every key, sliding-window layers too: their window is a mask. So a rollback is exact on every
    architecture, and costs the memory that a window would have saved.

    Args:
        model: a decoder, with or without its language-model head.
        readers: what is kept of the model's hidden states: those of a depth (`LAST`: after the final norm), or what a
            side network makes of them. `hidden` returns it.
        prefix_cache: gives prefixes that were encoded before, and receives those that are dropped here.
        usage: counts tokens and forward calls; default: the prefix cache's count, or a new one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        readers: Iterable[Reader] = (),
        prefix_cache: PrefixCache | None = None,
        usage: Usage | None = None,
    ):
        self.model = model
        self.readers = tuple(readers)
        self.prefix_cache = prefix_cache
        self.usage = usage or (prefix_cache.usage if prefix_cache else Usage())
        self.clear()

    def beside(self, model: PreTrainedModel, readers: Iterable[Reader] = ()) -> "KVCache":
        """An empty cache of another model that reads the same texts; the prefix cache and the usage serve both.

        Raises:
            InvalidSetting: the two models are on different devices.
        """
        check_device(model, self.model)
        return KVCache(model, readers, self.prefix_cache, self.usage)

    def clear(self) -> None:
        """Drop all prefixes."""
        self._caches = [GrowingCache() for _ in self._networks]
        self._recordings = Recordings(self.model)
        self._held: Columns | None = None
        self._proposed = 0
        self._candidates = torch.empty(0, 0, dtype=torch.long)
        self._history: dict[Reader, StateHistory] = {}
        self._unread: dict[Any, Tensor] = {}  # of a network that joined later: rows in which it has zeros

    @property
    def _networks(self) -> list[Any]:
        """The model and its side networks; each has keys and values."""
        return [self.model, *(reader for reader in self.readers if not isinstance(reader, int))]

    @property
    def slots(self) -> int:
        """Columns of the cache: the tokens of the longest prefix, padding included."""
        return 0 if self._held is None else self._held.slots

    @property
    def rows(self) -> int:
        """Number of prefixes."""
        return 0 if self._held is None else self._held.rows

    @property
    def mask(self) -> Bool[Tensor, "rows slots"]:
        """The columns that are part of each prefix: not padding, and no holes."""
        return self._columns.mask

    @property
    def _columns(self) -> Columns:
        assert self._held is not None, "feed a prefix first"
        return self._held

    @property
    def prefixes(self) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        """The token ids of all prefixes, left-padded, and a mask that is False where they are padding.

        The columns that were fed last are the last ones, those included that are padding on the right.
        """
        return self._columns.prefixes

    def hidden(self, reader: Reader) -> Float[Tensor, "rows hidden"]:
        """What one of `readers` has of each prefix's last token."""
        history = self._history[reader]
        held = self._columns
        return history.at(held.behind_last, held.most_behind) if held.ragged else history.last()

    @property
    def records(self) -> bool:
        """Whether forward calls are recorded and replayed, as on a GPU."""
        return self._recordings.records

    def recent(self, reader: Reader, tokens: int) -> Float[Tensor, "rows tokens hidden"]:
        """What one of `readers` has of the columns that were fed last."""
        return self._history[reader].recent(tokens)

    def keys_values(
        self, network: SideNetwork
    ) -> tuple[Float[Tensor, "rows heads slots size"], Float[Tensor, "rows heads slots size"]]:
        """The keys and values of the first layer of one of `readers`, a network of its own."""
        layer = self._by_network()[network].layers[0]
        return layer.keys, layer.values

    def feed(
        self,
        ids: Int[Tensor, "rows new"],
        mask: Bool[Tensor, "rows new"] | None = None,
        logits: int = 1,
        branches: Branches | None = None,
    ) -> Called:
        """Append tokens to every prefix, in one forward call.

        Args:
            ids: the new tokens. The first feed may be padded on the left. A later one may be padded on the right; then
                `retract` must take the padding back before anything else is fed.
            mask: False where `ids` is padding; default: nowhere.
            logits: return logits of this many last tokens, if the model has a head.
            branches: which new token each follows, in a later feed; default: the one before it. Then `arrange` and
                `retract` must leave one path of each row before anything else is fed or asked.

        Returns:
            What the model returned; what its readers made of the new tokens is kept too.
        """
        self._drop_proposed()
        new = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        call = ForwardCall(self.model, self.readers, logits)
        called: Called | None = None
        if self._held is None:
            recalled = self._recall(ids, new, logits)
            self._held = Columns(ids, new, mask is not None and not bool(mask.all()))
            ids = ids[:, recalled:]
        else:
            self._held.append(ids, new)
            if branches is None:
                called = self._recordings.call(call, self._caches, ids, self._held.mask)
            else:
                called = self._call_tree(call, ids, branches)
        if called is None:
            positions, visible = self._held.positions[:, -ids.shape[1] :], self._visible(ids.shape[1])
            called = call(self._caches, ids, positions, self._attention_mask(positions), visible)
        self.usage.count(ids.numel())
        for reader, states in called.states.items():
            self._history.setdefault(reader, StateHistory()).append(states)
        return called

    def propose(self, candidates: Int[Tensor, "rows k"], after: Int[Tensor, "rows k"] | None = None) -> ModelOutput:
        """Run k alternative next tokens of every prefix in one forward call, each blind to the others.

        A candidate sees its prefix and itself: a block mask, instead of k copies of the cache. `accept` then appends
        one of them; anything else drops them.

        Args:
            candidates: token ids.
            after: the slot that each candidate follows, for candidates further back (-1: first tokens); default: the
                last slot.
        """
        self._drop_proposed()
        after = torch.full_like(candidates, self.slots - 1) if after is None else after
        lengths = functional.pad(self.mask.cumsum(1), (1, 0))
        positions = lengths.gather(1, after + 1)
        self._proposed, self._candidates = candidates.shape[1], candidates
        self.usage.count(candidates.numel())
        call = ForwardCall(self.model, self.readers)
        return call.run_model(self._caches[0], candidates, positions, self._block_mask(positions, after))

    def accept(self, choice: Int[Tensor, " rows"]) -> None:
        """Append, without a forward, the candidate in column `choice[row]` of the last `propose`."""
        assert self._proposed, "propose before accepting"
        for layer in self._caches[0].layers:
            layer.keep_column(self.slots, choice)
        kept = self._candidates.gather(1, choice[:, None])
        self._columns.append(kept, torch.ones_like(kept, dtype=torch.bool))
        self._proposed = 0

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Make row i what row `rows[i]` was: fork, re-order or drop. The prefix cache receives what is dropped."""
        if self._held is None:
            return
        if self.prefix_cache is not None:
            staying = set(rows.tolist())
            self._keep([row for row in range(self.rows) if row not in staying])
        for cache in self._caches:
            cache.batch_select_indices(rows)
        self._held.select(rows)
        if self._proposed:
            self._candidates = self._candidates[rows]
        self._unread = {network: unread[rows] for network, unread in self._unread.items()}
        for history in self._history.values():
            history.select(rows)

    def remember(self) -> None:
        """Put every prefix into the prefix cache; `select` does it for the rows that it drops."""
        self._keep(range(self.rows))

    def join(self, other: "KVCache") -> None:
        """Append the rows of another cache of the same model; the shorter rows are padded on the left.

        What only one of the caches reads is zero in the rows of the other, which its prefix cache never receives.
        """
        if other._held is None:
            return
        if self._held is None:
            self._take(other)
            return
        for cache in (self, other):
            cache.compact()
            cache.trim()
        slots, rows = max(self.slots, other.slots), (self.rows, other.rows)
        ours, theirs = self._by_network(), other._by_network()
        self._unread = {each: torch.cat([self._zeros_of(each), other._zeros_of(each)]) for each in ours | theirs}
        self.readers = tuple(dict.fromkeys((*self.readers, *other.readers)))
        ours |= {each: blank_cache(theirs[each], self.rows) for each in theirs.keys() - ours.keys()}
        theirs |= {each: blank_cache(ours[each], other.rows) for each in ours.keys() - theirs.keys()}
        self._caches = [join_caches(ours[each], theirs[each], slots) for each in self._networks]
        self._history = {
            reader: join_histories(self._history.get(reader), other._history.get(reader), rows)
            for reader in self.readers
        }
        self._held.join(other._held)

    def trim(self) -> None:
        """Drop the leftmost columns that are padding in every row."""
        if self._held is None:
            return
        self._drop_proposed()
        first = self._held.trim()
        for room in (room for cache in self._caches for room in cache.rooms) if first else ():
            room.hold(room.states[:, :, first:])
        for history in self._history.values():
            history.keep_last(self.slots)

    def _take(self, other: "KVCache") -> None:
        self._caches, self._held, self._recordings = other._caches, other._held, other._recordings
        self.readers, self._history, self._unread = other.readers, other._history, other._unread

    def _by_network(self) -> dict[object, GrowingCache]:
        return dict(zip(self._networks, self._caches, strict=True))

    def _zeros_of(self, network: object) -> Bool[Tensor, " rows"]:
        """The rows of whose first tokens a network has zeros, because it did not read them."""
        unread = self.mask.new_full((self.rows,), network not in self._networks)
        return self._unread.get(network, unread)

    def rollback(self, tokens: int) -> None:
        """Take back the last `tokens` tokens of every prefix.

        Raises:
            InvalidSetting: the shortest prefix would have no token left, or no hidden state, because its tokens came
                from the prefix cache.
        """
        self.compact()
        held = 1 if self._held is None else int(self._held.mask.sum(1).min())
        held = min([held, *(history.tokens for history in self._history.values())])
        if not 0 <= tokens < held:
            raise InvalidSetting(
                f"got a rollback of {tokens} tokens, expected 0 to {held - 1}, one short of the shortest row"
            )
        self._drop_proposed()
        if tokens and self._held is not None:
            self._crop(tokens)

    def arrange(self, order: Int[Tensor, "rows kept"], new: int) -> None:
        """Put some of the columns that were fed last before the others of them.

        Args:
            order: their places among the columns that were fed last, for each row. The others mean nothing any more.
            new: how many columns were fed last.
        """
        self._drop_proposed()
        for room in (room for cache in self._caches for room in cache.rooms):
            put_first(room.states[:, :, -new:], order, axis=2)
        for history in self._history.values():
            history.arrange(order, new)
        self._columns.arrange(order, new)

    def retract(self, tokens: Sequence[int]) -> None:
        """Take back the last columns of each prefix, of each its own number. What other rows keep is a hole there.

        Args:
            tokens: how many columns of each row to take back, of those that hold the tokens fed last.
        """
        self._drop_proposed()
        common = min(tokens)
        if common:
            self._crop(common)
        if (most := max(tokens) - common) > 0:
            self._columns.drop(torch.tensor(tokens, device=self.mask.device) - common, most)
            if self._columns.crowded:
                self.compact()

    def _crop(self, tokens: int) -> None:
        """Drop the last columns of every row."""
        for cache in self._caches:
            cache.crop(-tokens)
        self._columns.crop(tokens)
        for history in self._history.values():
            history.rollback(tokens)

    def compact(self) -> None:
        """Move the columns of each row together, to the right, so that all holes become padding on the left."""
        if self._held is None or not self._held.holed:
            return
        self._drop_proposed()
        order = self._held.compacted
        rows = torch.arange(self.rows, device=order.device)[:, None]
        for room in (room for cache in self._caches for room in cache.rooms):
            room.hold(room.states.transpose(1, 2)[rows, order].transpose(1, 2))
        for history in self._history.values():
            history.compact(self._held.mask)
        self._held.compact(order)
        self.trim()

    def _recall(self, ids: Tensor, mask: Tensor, logits: int) -> int:
        """Start from what the prefix cache holds; returns the number of columns that gives, the same for all rows.

        Columns that only some rows hold are encoded again: padding within a row would cost as much.
        """
        if self.prefix_cache is None:
            return 0
        stores = [self.prefix_cache.of(network) for network in self._networks]
        texts = [row[-count:] for row, count in zip(ids.tolist(), mask.sum(1).tolist(), strict=True)]
        with ExitStack() as locks:
            for store in stores:
                locks.enter_context(store.lock)
            found = [[store.find(text[:-logits]) for text in texts] for store in stores]
            held = [min(map(len, of_text)) for of_text in zip(*found, strict=True)]
            if not any(held):
                return 0
            width = ids.shape[1] - max(len(text) - count for text, count in zip(texts, held, strict=True))
            start = [max(width - (ids.shape[1] - len(text)), 0) for text in texts]
            self._caches = [
                store.load([slots[:count] for slots, count in zip(of_store, start, strict=True)], width)
                for store, of_store in zip(stores, found, strict=True)
            ]
        return width

    def _keep(self, rows: Sequence[int]) -> None:
        """Put prefixes into the prefix cache."""
        if self.prefix_cache is None or not rows:
            return
        found = list(zip(rows, *self._columns.texts(rows), strict=True))
        for network, cache in self._by_network().items():
            zeros = self._zeros_of(network).tolist()
            if read := [each for each in found if not zeros[each[0]]]:
                self.prefix_cache.of(network).save(cache, *map(list, zip(*read, strict=True)))

    def _attention_mask(self, positions: Int[Tensor, "rows new"]) -> Any:
        """The mask of a forward call over the last tokens of every row; None where they see all up to their own."""
        columns, new = self._columns, positions.shape[1]
        if columns.padded and not columns.holed:
            return columns.shown  # nothing looks right, at padding there
        if columns.holed or (new == 1 < self.slots and wants_mask(self.model)):
            return attention_masks(self.model, columns.seen_by(new), columns.positions, positions)
        return None

    def _call_tree(self, call: ForwardCall, ids: Int[Tensor, "rows new"], branches: Branches) -> Called:
        """A forward call over the last tokens of every row, of which each sees only its path."""
        visible, column_positions, positions = branches.behind_columns(self.mask[:, : -ids.shape[1]])
        masks = attention_masks(self.model, visible, column_positions, positions)
        return call(self._caches, ids, positions, masks, visible)

    def _visible(self, new: int) -> Bool[Tensor, "rows new slots"] | None:
        """The columns that each of the last tokens sees; None for all up to its own."""
        return self._columns.seen_by(new) if self._columns.padded or new not in (1, self.slots) else None

    def _drop_proposed(self) -> None:
        if self._proposed:
            self._caches[0].crop(-self._proposed)
            self._proposed = 0

    def _block_mask(self, positions: Int[Tensor, "rows k"], after: Int[Tensor, "rows k"]) -> Tensor | dict[str, Tensor]:
        rows, k = after.shape
        slots = torch.arange(self.slots, device=after.device)
        before = self.mask[:, None] & (slots <= after[..., None])
        themselves = torch.eye(k, dtype=torch.bool, device=after.device).expand(rows, k, k)
        column_positions = torch.cat([self.mask.cumsum(1) - 1, positions], dim=1)
        return attention_masks(self.model, torch.cat([before, themselves], dim=-1), column_positions, positions)


def check_device(model: PreTrainedModel, beside: PreTrainedModel) -> None:
    """Check that two models that read the same texts are on one device.

    Raises:
        InvalidSetting: they are not.
    """
    if model.device != beside.device:
        raise InvalidSetting(f"got models on {model.device} and on {beside.device}, expected one device for both")
