"""The model's side of vLLM's steps, and the names that the processor imports, where vLLM is not installed."""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy
import torch

from trimtab.engines.vllm import tapped_models
from trimtab.engines.vllm.plugin import register
from trimtab.engines.vllm.step_record import StepRecord, keep_step
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST


def config(architecture="TrimtabLlamaForCausalLM", asynchronous=False, speculative=None, **section):
    """vLLM's configuration for a tiny model; `section` is that of trimtab."""
    return SimpleNamespace(
        model_config=SimpleNamespace(
            hf_config=SimpleNamespace(architectures=[architecture]),
            hf_text_config=SimpleNamespace(num_hidden_layers=3),
            model="tiny",
            max_model_len=64,
        ),
        scheduler_config=SimpleNamespace(async_scheduling=asynchronous),
        speculative_config=speculative,
        additional_config={"trimtab": section},
    )


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


class SamplingParams(SimpleNamespace):
    """A request's parameters, as far as the stand-ins read them."""

    extra_args, prompt_logprobs, stop_token_ids = None, None, ()


class Running:
    """A request that `LLMEngine` has."""

    def __init__(self, name, prompt, params):
        self.name, self.prompt, self.params, self.written = name, prompt, params, []

    @property
    def ids(self):
        return [*self.prompt, *self.written]

    @property
    def finished(self):
        params = self.params
        return len(self.written) == params.max_tokens or bool({*self.written[-1:]} & {*params.stop_token_ids})


class LLMEngine:
    """vLLM's engine over the V1 model runner: each step reads what is new of every request."""

    def __init__(self, lm, processor, vllm_config):
        self.lm, self.processor, self.vllm_config = lm, processor, vllm_config
        self.model, self.running, self.new = ModelSide(lm), [], []

    def add_request(self, name, prompt, params):
        self.new.append(Running(name, prompt["prompt_token_ids"], params))

    def abort_request(self, names):
        self.new = [each for each in self.new if each.name not in names]
        for request in [each for each in self.running if each.name in names]:
            self.leave(request)

    def leave(self, request):
        """The last request takes the place of one that has left."""
        at, last = self.running.index(request), len(self.running) - 1
        self.update(removed=[at], moved=[(last, at)] if at < last else [])
        self.running[at] = self.running[-1]
        self.running.pop()

    def update(self, **changes):
        self.processor.update_state(SimpleNamespace(**{"removed": [], "moved": [], "added": [], **changes}))

    @torch.inference_mode()
    def step(self):
        added = [(at, r.params, r.prompt, r.written) for at, r in enumerate(self.new, start=len(self.running))]
        self.running, self.new = [*self.running, *self.new], []
        self.update(added=added)
        if not self.running:
            return []
        record, logits = self.model.step(self.running, {each: len(each.ids) for each in self.running})
        keep_step(record)
        for request, row in zip(self.running, self.processor.apply(logits.clone()), strict=True):
            request.written.append(int(row.argmax()))
        outputs = [self.output(request) for request in self.running]
        for request in [each for each in self.running if each.finished]:
            self.leave(request)
        return outputs

    def output(self, request):
        about = self.likelihoods(request.prompt) if request.params.prompt_logprobs else None
        return SimpleNamespace(request_id=request.name, prompt_logprobs=about, finished=request.finished)

    def likelihoods(self, ids):
        logprobs = self.lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        found = [None]
        for token, row in zip(ids[1:], logprobs, strict=False):
            rank = int((row > row[token]).sum()) + 1
            found.append({token: SimpleNamespace(logprob=float(row[token]), rank=rank)})
        return found


class LlamaForCausalLM(torch.nn.Module):
    """A class of vLLM that can return the states of its layers, as EAGLE-3 needs them."""

    def set_aux_hidden_state_layers(self, layers):
        pass


class OldForCausalLM(torch.nn.Module):
    """A class of vLLM that cannot."""


class Registry:
    """vLLM's model classes by their names."""

    def __init__(self, *kinds):
        self.models = {kind.__name__: SimpleNamespace(load_model_cls=lambda kind=kind: kind) for kind in kinds}

    def register_model(self, name, place):
        module, kind = place.split(":")
        self.models[name] = SimpleNamespace(load_model_cls=lambda: getattr(import_module(module), kind))


def install(monkeypatch):
    """Put modules with vLLM's names into place."""
    name = "vllm.v1.sample.logits_processor"
    for package in ("vllm", "vllm.v1", "vllm.v1.sample"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
    vllm = sys.modules["vllm"]
    vllm.SamplingParams, vllm.ModelRegistry = SamplingParams, Registry(LlamaForCausalLM, OldForCausalLM)
    for kind in (LlamaForCausalLM, OldForCausalLM):
        tapped = f"Trimtab{kind.__name__}"
        monkeypatch.setitem(vars(tapped_models), tapped, tapped_models.tapped_class(kind.__name__))
    register()
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
