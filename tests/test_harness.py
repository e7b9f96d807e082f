"""The adapter for lm-evaluation-harness, against the harness's own model class and against our engine."""

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM, hash_args
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM

from tiny import opening_lm, tiny_lm, tiny_reward
from tiny_chat import chat_lm
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
    return served(tiny_lm("llama"), monkeypatch)


def served(frozen, monkeypatch):
    """The model that the harness loads."""
    lm = LanguageModel(TorchEngine(frozen))
    monkeypatch.setattr(harness, "load", lambda *_: lm)
    return lm


def asked(kind, given):
    return [Instance(request_type=kind, doc={}, arguments=args, idx=n) for n, args in enumerate(given)]


def steered_by(steer, monkeypatch, **options):
    """The harness's model under a steer."""
    monkeypatch.setattr(harness, "load_steers", lambda texts, *given: steer if texts == ["q=4"] else None)
    return HarnessLM(steer="q=4", top_k=6, batch_size=1, **options)


def theirs(lm):
    return HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=2, max_length=64, device="cpu")


def test_the_harness_finds_the_model_by_its_name():
    assert get_model("trimtab") is HarnessLM


@pytest.mark.parametrize("build", [tiny_lm, opening_lm], ids=["no BOS", "BOS"])
def test_unsteered_figures_equal_those_of_the_harness_own_model(build, monkeypatch):
    lm = served(build("llama"), monkeypatch)
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


def test_a_rolling_text_of_no_token_counts_0(lm):
    rolling = asked("loglikelihood_rolling", [("w1 w2",), ("",)])
    written, empty = HarnessLM().loglikelihood_rolling(rolling, disable_tqdm=True)
    assert written < empty == 0.0


def test_rolling_likelihoods_are_cached(lm, tmp_path):
    ours, rolling = HarnessLM(), asked("loglikelihood_rolling", [(text,) for text in WHOLE])
    cached = CachingLM(ours, str(tmp_path / "cache.db"))
    found = ours.loglikelihood_rolling(rolling, disable_tqdm=True)
    assert dict(cached.dbdict) == {
        hash_args("loglikelihood_rolling", request.args): total for request, total in zip(rolling, found, strict=True)
    }
    assert cached.loglikelihood_rolling(rolling) == found


def test_conversations_are_rendered_as_by_the_harness_own_model(monkeypatch):
    lm = served(chat_lm(), monkeypatch)
    ours, reference = HarnessLM(), theirs(lm)
    turns = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4"}]
    continued = ours.apply_chat_template(turns, add_generation_prompt=False)
    assert (
        continued
        == reference.apply_chat_template(turns, add_generation_prompt=False)
        == "<bos> w51 w1 w2 <eos> w52 w3 w4"
    )
    assert ours.apply_chat_template(turns[:1]) == reference.apply_chat_template(turns[:1])


def test_more_new_tokens_than_the_context_are_refused(lm):
    requests = asked("generate_until", [("w1 w2", {"until": ["w9"], "max_gen_toks": 64})])
    with pytest.raises(InvalidSetting, match="max_gen_toks=64, expected less than the context of 64"):
        HarnessLM().generate_until(requests, disable_tqdm=True)


def test_a_text_that_has_its_bos_gets_no_second_one(monkeypatch):
    served(opening_lm("llama"), monkeypatch)
    ours, bos = HarnessLM(), 1
    assert ours.tok_encode("<bos> w1") == ours.tok_encode("w1") == [bos, *ours.tok_encode("w1", False)]


def test_repeats_of_a_task_are_other_samples_in_any_batches(lm):
    settings = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.0}
    requests = asked("generate_until", [("w1 w2", settings)] * 5 + [("w3", settings)])
    found = HarnessLM(batch_size=2).generate_until(requests, disable_tqdm=True)
    assert len(set(found[:5])) == 5
    assert found == HarnessLM(batch_size=6).generate_until(requests, disable_tqdm=True)
    samples = lm.generate("w1 w2", top_k=None, max_new_tokens=8, seed=0, n=5)
    assert found[:5] == [sample.text for sample in samples.samples]


def test_settings_of_a_task_are_read_or_named(lm, caplog):
    settings = {"until": [], "max_gen_toks": 6, "do_sample": True, "temperature": 1.0, "top_k": 3, "min_p": 0.1}
    settings |= {"repetition_penalty": 1.5, "top_p": 0.6}
    (found,) = HarnessLM().generate_until(asked("generate_until", [("w1 w2", settings)]), disable_tqdm=True)
    options = {"top_k": 3, "top_p": 0.6, "repetition_penalty": 1.5, "max_new_tokens": 6, "seed": 0}
    assert found == lm.generate("w1 w2", **options).text
    assert "min_p" in caplog.text
    assert "top_k" not in caplog.text


def test_steered_texts_and_scores_equal_those_of_the_engine(lm, monkeypatch):
    steer = tiny_reward(lm.base, "q").toward(4.0)
    ours = steered_by(steer, monkeypatch)
    (written,) = ours.generate_until(asked("generate_until", ASKED[:1]), disable_tqdm=True)
    assert written == lm.generate("w1 w2", steer, top_k=6, temperature=0, max_new_tokens=6, stop="w9").text
    limited = steered_by(steer, monkeypatch, max_kl=0.05)
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


def test_steered_likelihoods_have_the_budget_and_fit_the_reward(lm, monkeypatch):
    reward = tiny_reward(lm.base, "q")
    steer, room = reward.toward(4.0), reward.context_length - reward.extra_tokens
    encode = lm.engine.codec.encode_text
    contexts = [encode(context) or [lm.engine.codec.bos_token_id] for context, _ in PAIRS]
    continuations = [encode(continuation) for _, continuation in PAIRS]
    prefixes = [ids[-(room - len(written)) :] for ids, written in zip(contexts, continuations, strict=True)]
    assert prefixes[-1] != contexts[-1]
    limited = steered_by(steer, monkeypatch, max_kl=0.05)
    found = limited.loglikelihood(asked("loglikelihood", PAIRS), disable_tqdm=True)
    for max_kl, alike in ((0.05, True), (None, False)):
        scored = lm.engine.score(prefixes, [[each] for each in continuations], steer, 6, max_kl)
        expected = [float(logprobs[0]) for logprobs, _ in scored]
        assert ([logprob for logprob, _ in found] == pytest.approx(expected, abs=1e-3)) is alike


def test_steered_rolling_likelihoods_count_every_token(lm, monkeypatch):
    reward = tiny_reward(lm.base, "q")
    steer, window = reward.toward(4.0), reward.context_length - reward.extra_tokens - 1
    ids = [5 + n % 50 for n in range(2 * window)]
    prefixes = [[lm.engine.codec.bos_token_id], ids[window - 1 : window]]
    scored = lm.engine.score(prefixes, [[ids[:window]], [ids[window:]]], steer, 6)
    expected = sum(float(logprobs[0]) for logprobs, _ in scored)
    rolling = asked("loglikelihood_rolling", [(lm.engine.codec.decode(ids),)])
    assert steered_by(steer, monkeypatch).loglikelihood_rolling(rolling, disable_tqdm=True) == pytest.approx(
        [expected], abs=1e-3
    )
