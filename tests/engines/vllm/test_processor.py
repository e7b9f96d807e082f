"""The processor, driven as vLLM drives it, by requests of vLLM's server: names and text, in another process."""

from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from fake_vllm import ModelSide, config, install
from tiny import save_lm, tiny_ladder, tiny_reward
from trimtab.engines.vllm import served
from trimtab.engines.vllm.step_record import keep_step
from trimtab.errors import InvalidSetting

PROMPTS = [[10, 11, 12, 13, 14, 15], [20, 21], [30, 31, 32], [40]]


@pytest.fixture
def make(monkeypatch):
    install(monkeypatch)
    kind = import_module("trimtab.engines.vllm.processor").SteeringProcessor
    return lambda about: kind(about, torch.device("cpu"), False)


@pytest.fixture
def processor(make, llama):
    processor = make(config(embedded=True))
    processor._served._rewards = {"mood": tiny_ladder(llama), "slow": tiny_reward(llama, "q")}
    processor._served.__dict__["base"] = llama
    return processor


class Request:
    """A request as vLLM has it; other requests are left alone."""

    def __init__(self, prompt, given):
        self.prompt, self.written, self.given = prompt, [], given

    @property
    def ids(self):
        return [*self.prompt, *self.written]

    def added(self, index):
        extra = {} if self.given is None else {"extra_args": {"trimtab": self.given}}
        return index, SimpleNamespace(**{"extra_args": None, "temperature": 0.0, **extra}), self.prompt, self.written


@torch.inference_mode()
def write(processor, lm, requests, tokens, chunk=3):
    """Let vLLM's steps write greedily, prompts in chunks; returns the logits of the last step before and after."""
    model = ModelSide(lm)
    update = SimpleNamespace(removed=[], moved=[], added=[each.added(at) for at, each in enumerate(requests)])
    while min(len(each.written) for each in requests) < tokens:
        processor.update_state(update)
        update = None
        counts = {each: chunk if model.read.get(each, 0) < len(each.prompt) else 1 for each in requests}
        step, logits = model.step(requests, counts)
        keep_step(step)
        steered = processor.apply(logits.clone())
        for each, row in zip(requests, steered, strict=True):
            if model.read[each] >= len(each.ids):
                each.written.append(int(row.argmax()))
    return logits, steered


def test_requests_by_name_are_steered_as_the_library_steers(processor, llama, lm):
    mood, slow = processor._served._rewards.values()
    requests = [
        Request(PROMPTS[0], "mood=5"),
        Request(PROMPTS[1], None),
        Request(PROMPTS[2], '{"steer": "mood=-3 slow:calm=4", "top_k": 6}'),
        Request(PROMPTS[3], '{"steer": "slow=5", "seed": 7, "top_k": 10}'),
    ]
    logits, steered = write(processor, llama, requests, 5)
    texts = [" ".join(f"w{token - 4}" for token in prompt) for prompt in PROMPTS]
    steers = [mood.toward(5.0), None, mood.away(3.0) + slow.toward(4.0, "calm"), slow.toward(5.0)]
    settings = [{"temperature": 0}, {"temperature": 0}, {"temperature": 0, "top_k": 6}, {"seed": 7, "top_k": 10}]
    for request, text, steer, options in zip(requests, texts, steers, settings, strict=True):
        expected = lm.generate(text, steer, max_new_tokens=5, **options).token_ids
        assert request.written[: len(expected)] == expected
    assert torch.equal(steered[1], logits[1]), "a request without our key is left alone"
    kept = steered > -torch.inf
    assert kept[0].sum() == 20
    assert kept[2].sum() == 6
    assert bool((logits[2][kept[2]] >= logits[2].topk(6).values[-1]).all()), "the candidates are the model's best"


def test_a_row_whose_rewards_are_not_finite_ends_alone(processor, llama, caplog):
    broken = processor._served._rewards["slow"]
    broken.network.head.up.data.fill_(torch.nan)
    requests = [Request(PROMPTS[0], "slow=5"), Request(PROMPTS[1], "mood=5")]
    _, steered = write(processor, llama, requests, 1, chunk=9)
    assert requests[0].written == [min(llama.codec.eos_token_ids)]
    assert (steered[1] > -torch.inf).sum() == 20
    assert "a text ends here" in caplog.text


def test_a_model_that_keeps_no_hidden_states_is_refused(make):
    with pytest.raises(InvalidSetting, match=r'--hf-overrides.*"TrimtabLlamaForCausalLM"'):
        make(config("LlamaForCausalLM"))


@pytest.mark.parametrize(("architecture", "taps"), [("TrimtabLlamaForCausalLM", [1]), ("TrimtabOldForCausalLM", None)])
def test_a_served_reward_that_reads_another_depth_is_refused_at_the_start(
    make, llama, tmp_path, monkeypatch, architecture, taps
):
    save_lm(llama, tmp_path / "lm")
    tiny_reward(llama, "q", "frozen", layers=2, bos_token_id=None).save_pretrained(tmp_path / "mood")
    monkeypatch.setattr(served, "served_places", lambda: {"mood": str(tmp_path / "mood")})
    about = config(architecture, taps=taps)
    about.model_config.model = str(tmp_path / "lm")
    kept = "1, 3" if taps else "3"
    with pytest.raises(InvalidSetting, match=f"'mood', .* depths 2, .* expected depths among {kept}, which"):
        make(about)


def test_the_default_depths_are_those_of_a_served_ladder(make, llama, tmp_path, monkeypatch):
    save_lm(llama, tmp_path / "lm")
    tiny_ladder(llama).save_pretrained(tmp_path / "mood")
    monkeypatch.setattr(served, "served_places", lambda: {"mood": str(tmp_path / "mood")})
    about = config()
    about.model_config.model = str(tmp_path / "lm")
    assert list(make(about)._served._rewards) == ["mood"]


def test_asynchronous_scheduling_is_refused(make):
    with pytest.raises(InvalidSetting, match="--no-async-scheduling"):
        make(config(asynchronous=True))
