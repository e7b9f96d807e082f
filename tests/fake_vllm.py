"""The model's side of vLLM's steps, and the names that the processor imports, where vLLM is not installed."""

import sys
from types import ModuleType, SimpleNamespace

import torch

from trimtab.engines.vllm.step_record import StepRecord
from trimtab.models.kv_cache import LAST, KVCache


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


def install(monkeypatch):
    """Put modules with vLLM's names into place."""
    name = "vllm.v1.sample.logits_processor"
    for package in ("vllm", "vllm.v1", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    interface, builtin = ModuleType(name), ModuleType(f"{name}.builtin")
    interface.BatchUpdate, interface.LogitsProcessor = SimpleNamespace, object
    builtin.process_dict_updates = process_dict_updates
    monkeypatch.setitem(sys.modules, name, interface)
    monkeypatch.setitem(sys.modules, f"{name}.builtin", builtin)
    monkeypatch.delitem(sys.modules, "trimtab.engines.vllm.processor", raising=False)
