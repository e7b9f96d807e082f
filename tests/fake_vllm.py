"""The model's side of vLLM's steps, and the names that the processor imports, where vLLM is not installed."""

import sys
from types import ModuleType, SimpleNamespace

import numpy
import torch

from trimtab.engines.vllm.step_record import StepRecord
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST


class ModelSide:
    """Runs the model over whole texts, and cuts out what a step of vLLM would have."""

    def __init__(self, lm):
        self.lm, self.read = lm, {}

    def states(self, ids):
        cache = KVCache(self.lm.model, [1, 2, 3, LAST])
        logits = cache.feed(torch.tensor([ids])).logits[0, -1]
        return {depth: cache.recent(depth, len(ids))[0] for depth in (1, 2, 3, LAST)}, logits

    def step(self, rows, tokens):
        """A step that reads the next tokens of each row, of each its own number; its record, and the rows' logits."""
        starts, positions, parts, logits = [0], [], [], []
        for row in rows:
            before = self.read.get(row, 0)
            after = min(before + tokens[row], len(row.ids))
            whole, last = self.states(row.ids[:after])
            parts.append({depth: states[before:after] for depth, states in whole.items()})
            logits.append(last)
            positions += range(before, after)
            starts.append(len(positions))
            self.read[row] = after
        states = {depth: torch.cat([part[depth] for part in parts]) for depth in parts[0]}
        return StepRecord(torch.tensor(positions), torch.tensor(starts), states), torch.stack(logits)


def process_dict_updates(entries, update, new_state):
    """As vLLM's: removed, then added, then moved; a move to a place replaces what is there."""
    if update is None:
        return False
    for index in update.removed:
        entries.pop(index, None)
    for index, params, prompt, written in update.added:
        entries.pop(index, None)
        if (state := new_state(params, prompt, written)) is not None:
            entries[index] = state
    for first, second in update.moved:
        moved = entries.pop(first, None)
        entries.pop(second, None)
        if moved is not None:
            entries[second] = moved
    return True


class V1LogitsProcessor:
    """The interface of the V1 model runner."""


class V2LogitsProcessor:
    """The interface of the V2 model runner."""

    def apply_staged_writes(self):
        pass


class Slots:
    """The requests of the V2 model runner: a slot for each, with its tokens, and tokens that are staged first.

    Slots that are free hold what their last request left there.
    """

    def __init__(self, slots, longest):
        self.device = torch.device("cpu")
        self.all_token_ids = SimpleNamespace(gpu=torch.full((slots, longest), 9))
        self.total_len = SimpleNamespace(gpu=torch.full((slots,), longest))
        self.prompt_len = SimpleNamespace(np=numpy.full(slots, longest))
        self.staged, self.free = [], list(range(slots))

    def add(self, prompt, written):
        """Give a request a slot, the one that was freed last; its tokens arrive with the next `flush`."""
        slot = self.free.pop()
        self.prompt_len.np[slot] = len(prompt)
        self.staged.append((slot, [*prompt, *written]))
        return slot

    def flush(self):
        for slot, ids in self.staged:
            self.total_len.gpu[slot] = len(ids)
            self.all_token_ids.gpu[slot, : len(ids)] = torch.tensor(ids)
        self.staged = []

    def append(self, slot, token):
        self.all_token_ids.gpu[slot, self.total_len.gpu[slot]] = token
        self.total_len.gpu[slot] += 1


def install(monkeypatch):
    """Put modules with vLLM's names into place."""
    name = "vllm.v1.sample.logits_processor"
    for package in ("vllm", "vllm.v1", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    interface, builtin = ModuleType(name), ModuleType(f"{name}.builtin")
    interface.BatchUpdate, interface.LogitsProcessor = SimpleNamespace, V1LogitsProcessor
    builtin.process_dict_updates = process_dict_updates
    monkeypatch.setitem(sys.modules, name, interface)
    monkeypatch.setitem(sys.modules, f"{name}.builtin", builtin)
    for package in ("vllm.v1.worker", "vllm.v1.worker.gpu", "vllm.v1.worker.gpu.sample"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    second = ModuleType("vllm.v1.worker.gpu.sample.logits_processor")
    second.LogitsProcessor, second.LogitsContext = V2LogitsProcessor, SimpleNamespace
    sys.modules["vllm.v1.worker.gpu.sample"].logits_processor = second
    monkeypatch.setitem(sys.modules, second.__name__, second)
    monkeypatch.delitem(sys.modules, "trimtab.engines.vllm.processor", raising=False)
