"""The adapter for lm-evaluation-harness, against the harness's own model class and against our engine."""

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from tiny import tiny_lm, tiny_reward
from trimtab import harness
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.harness import HarnessLM
from trimtab.language_model import LanguageModel

PAIRS = [("w1 w2 w3", " w4 w5"), ("", "w7 w8 w9"), ("w3", " w1"), (" ".join(["w5"] * 70), " w1 w2")]
WHOLE = ["w1 w2 w3 w4", " ".join(f"w{n % 50}" for n in range(150))]  # longer than the context of 64
ASKED = [("w1 w2", {"until": ["w9"], "max_gen_toks": 6}), ("w8", {"until": ["w1", "w2"], "max_gen_toks": 4})]


@pytest.fixture
def lm(monkeypatch):
    lm = LanguageModel(TorchEngine(tiny_lm("llama")))
    monkeypatch.setattr(harness, "load", lambda *_: lm)
    return lm


def asked(kind, given):
    return [Instance(request_type=kind, doc={}, arguments=args, idx=n) for n, args in enumerate(given)]


def theirs(lm):
    return HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=2, max_length=64, device="cpu")


def test_the_harness_finds_the_model_by_its_name():
    assert get_model("trimtab") is HarnessLM


def test_unsteered_figures_equal_those_of_the_harness_own_model(lm):
    ours, reference = HarnessLM(batch_size=3), theirs(lm)
    found = ours.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    expected = reference.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    assert [logprob for logprob, _ in found] == pytest.approx([logprob for logprob, _ in expected], abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    rolling = asked("loglikelihood_rolling", [(text,) for text in WHOLE])
    assert ours.loglikelihood_rolling(rolling, disable_tqdm=True) == pytest.approx(
        reference.loglikelihood_rolling(rolling, disable_tqdm=True), abs=1e-2
    )
    requests = asked("generate_until", ASKED)
    assert ours.generate_until(requests, disable_tqdm=True) == reference.generate_until(requests, disable_tqdm=True)


def test_more_new_tokens_than_the_context_are_refused(lm):
    requests = asked("generate_until", [("w1 w2", {"until": ["w9"], "max_gen_toks": 64})])
    with pytest.raises(InvalidSetting, match="max_gen_toks=64, expected less than the context of 64"):
        HarnessLM().generate_until(requests, disable_tqdm=True)


def test_steered_texts_and_scores_equal_those_of_the_engine(lm, monkeypatch):
    steer = tiny_reward(lm.base, "q").toward(4.0)
    monkeypatch.setattr(harness, "load_steers", lambda texts, *given: steer if texts == ["q=4"] else None)
    ours = HarnessLM(steer="q=4", top_k=6, batch_size=1)
    (written,) = ours.generate_until(asked("generate_until", ASKED[:1]), disable_tqdm=True)
    assert written == lm.generate("w1 w2", steer, top_k=6, temperature=0, max_new_tokens=6, stop="w9").text
    limited = HarnessLM(steer="q=4", top_k=6, max_kl=0.05, batch_size=1)
    (written,) = limited.generate_until(asked("generate_until", ASKED[:1]), disable_tqdm=True)
    options = {"top_k": 6, "max_kl": 0.05, "temperature": 0, "max_new_tokens": 6, "stop": "w9"}
    assert written == lm.generate("w1 w2", steer, **options).text
    ids = lm.generate("w1 w2", steer, top_k=6, temperature=0, max_new_tokens=3).trace
    with torch.inference_mode():
        ((logprob, greedy),) = ours._loglikelihood_tokens(
            [(("", ""), lm.engine.codec.encode_prompt("w1 w2"), [token.token_id for token in ids])], disable_tqdm=True
        )
    assert greedy
    assert logprob == pytest.approx(sum(token.choice.logprob for token in ids), abs=1e-4)
