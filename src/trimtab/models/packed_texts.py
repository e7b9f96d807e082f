"""Texts that share beginnings, encoded in one row: each shared token once, under a mask that keeps texts apart."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.utils import ModelOutput

from trimtab.models.layers import find_decoder
from trimtab.models.masks import attention_masks
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage

MAX_NEW_TOKENS = 1024  # per forward call: attention grows with their square


@dataclass
class Pack:
    """Texts in one row, behind the prefixes of them that the store holds.

    Attributes:
        held: store slot → column, for every held token that a text starts with.
        cache: the keys and values of those columns.
        tokens, positions: the new tokens and their positions in their texts.
        columns: for each text, the column of each of its tokens.
    """

    held: dict[int, int] = field(default_factory=dict)
    cache: DynamicCache = field(default_factory=DynamicCache)
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    columns: list[list[int]] = field(default_factory=list)


@final
class PackedTexts:
    """Texts to encode together; asks for logits or hidden states at their last tokens.

    Args:
        model: the language model.
        prefix_cache: prefixes that were encoded before.
        texts: token ids.
        last: how many last tokens of each text to answer for.
        usage: counts tokens and forward calls; default: the prefix cache's count.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prefix_cache: PrefixCache,
        texts: Sequence[Sequence[int]],
        last: Sequence[int],
        usage: Usage | None = None,
    ):
        self._model, self._store, self._usage = model, prefix_cache.of(model), usage or prefix_cache.usage
        self._texts, self._last = texts, last
        self._nodes, self._users = _as_tree(texts)

    def logits(self) -> list[Float[Tensor, "positions vocabulary"]]:
        """The logits at the last tokens of each text. The prefix cache receives what several texts share."""
        return list(self.logits_in_turn())

    @torch.inference_mode()
    def logits_in_turn(self) -> Iterator[Float[Tensor, "positions vocabulary"]]:
        """The same, text by text: no more are held than one forward call gives."""
        for group in self._groups():
            pack = self._pack(group)
            asked = [pack.columns[place][-self._last[number] :] for place, number in enumerate(group)]
            index = torch.tensor([column - len(pack.held) for of_text in asked for column in of_text])
            output = self._forward(self._model, pack, logits_to_keep=index.to(self._model.device))
            self._remember(group, pack, output.past_key_values, shared_by=2)
            for logits in output.logits[0].split([len(of_text) for of_text in asked]):
                yield logits.float()

    @torch.inference_mode()
    def states(self, depth: int, shared_by: int = 1) -> list[Float[Tensor, "positions hidden"]]:
        """The hidden states of the last tokens of each text at a depth.

        The prefix cache receives what at least `shared_by` texts have in common: by default everything.
        """
        found: list[Tensor] = []
        for group in self._groups():
            pack = self._pack(group)
            output = self._forward(find_decoder(self._model), pack, output_hidden_states=True)
            states = output.hidden_states[depth][0].float()
            for place, number in enumerate(group):
                asked = pack.columns[place][-self._last[number] :]
                found.append(states[[column - len(pack.held) for column in asked]])
            self._remember(group, pack, output.past_key_values, shared_by)
        return found

    def _groups(self) -> Iterator[list[int]]:
        """The texts in order, in groups of at most MAX_NEW_TOKENS new tokens."""
        group: list[int] = []
        new: set[int] = set()
        for number, nodes in enumerate(self._nodes):
            own = set(nodes[len(self._held(number)) :]) - new
            if group and own and len(new) + len(own) > MAX_NEW_TOKENS:
                yield group
                group, new = [], set()
                own = set(nodes[len(self._held(number)) :])
            group.append(number)
            new |= own
        yield group

    def _held(self, number: int) -> list[int]:
        text = self._texts[number]
        return self._store.find(text[: len(text) - self._last[number]])

    def _pack(self, group: Sequence[int]) -> Pack:
        pack = Pack()
        with self._store.lock:
            found = [self._held(number) for number in group]
            for slots in found:
                for slot in slots:
                    pack.held.setdefault(slot, len(pack.held))
            pack.cache = self._store.load([list(pack.held)], len(pack.held))
        placed: dict[tuple[int, int], int] = {}  # by the column before and the token: texts hold unequal parts
        for number, slots in zip(group, found, strict=True):
            columns = [pack.held[slot] for slot in slots]
            for position in range(len(slots), len(self._texts[number])):
                token = self._texts[number][position]
                place = columns[-1] if columns else -1, token
                if place not in placed:
                    placed[place] = len(pack.held) + len(pack.tokens)
                    pack.tokens.append(token)
                    pack.positions.append(position)
                columns.append(placed[place])
            pack.columns.append(columns)
        return pack

    def _forward(self, model: PreTrainedModel, pack: Pack, **extra: Tensor | bool) -> ModelOutput:
        held, new, device = len(pack.held), len(pack.tokens), self._model.device
        visible = np.zeros((new, held + new), dtype=bool)
        column_positions = np.zeros(held + new, dtype=np.int64)
        for path in map(np.array, pack.columns):
            column_positions[path] = np.arange(len(path))
            for place in range(np.count_nonzero(path < held), len(path)):  # new columns come last
                visible[path[place] - held, path[: place + 1]] = True
        positions = torch.tensor([pack.positions], device=device)
        masks = attention_masks(
            self._model,
            torch.from_numpy(visible).to(device)[None],
            torch.from_numpy(column_positions).to(device)[None],
            positions,
        )
        self._usage.count(new)
        return model(
            input_ids=torch.tensor([pack.tokens], device=device),
            position_ids=positions,
            attention_mask=masks,
            past_key_values=pack.cache,
            use_cache=True,
            **extra,
        )

    def _remember(self, group: Sequence[int], pack: Pack, cache: DynamicCache, shared_by: int) -> None:
        """Store the part of each text that at least `shared_by` texts have in common."""
        counts = [sum(self._users[node] >= shared_by for node in self._nodes[number]) for number in group]
        texts = [self._texts[number][:count] for number, count in zip(group, counts, strict=True)]
        columns = [of_text[:count] for of_text, count in zip(pack.columns, counts, strict=True)]
        self._store.save(cache, [0] * len(group), texts, columns)


def _as_tree(texts: Sequence[Sequence[int]]) -> tuple[list[list[int]], Counter[int]]:
    """Number every distinct prefix: the numbers along each text, and how many texts have each."""
    numbers: dict[tuple[int, int], int] = {}
    nodes: list[list[int]] = []
    for text in texts:
        path: list[int] = []
        for token in text:
            path.append(numbers.setdefault((path[-1] if path else -1, token), len(numbers)))
        nodes.append(path)
    return nodes, Counter(node for path in nodes for node in path)
