"""The public face: shapes of results, prompts, settings for each prompt, refusals, threads."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import trimtab
from forward_counter import ForwardCounter
from tiny import FAMILIES, tiny_reward, tiny_tokenizer
from tiny_chat import ASSISTANT, BOS, EOS, SYSTEM, USER, chat_lm
from trimtab import testing
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, UnsupportedByEngine
from trimtab.generation import Generation
from trimtab.language_model import LanguageModel
from trimtab.models.usage import Usage

OPTIONS = {"max_new_tokens": 4, "seed": 0}
MESSAGES = [{"role": "system", "content": "w9"}, {"role": "user", "content": "w1 w2"}]
TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]


@pytest.fixture(scope="module")
def chat():
    return LanguageModel(TorchEngine(chat_lm()))


def test_a_text_gives_one_result_and_a_list_gives_a_list(lm):
    assert lm.generate("w1", **OPTIONS).prompt == "w1"
    assert [each.prompt for each in lm.generate(["w1", "w2"], **OPTIONS)] == ["w1", "w2"]
    assert [each.prompt for each in lm.generate(["w1"], **OPTIONS)] == ["w1"]
    assert isinstance(lm.generate("w1", n=3, **OPTIONS), Generation)
    assert [len(each.samples) for each in lm.generate(("w1", "w2"), n=3, **OPTIONS)] == [3, 3]


def test_a_result_is_its_own_first_sample(lm):
    written = lm.generate("w1", n=3, **OPTIONS)
    assert written.samples[0] is written
    assert len({tuple(sample.token_ids) for sample in written.samples}) > 1
    assert all(len(sample.samples) == 1 for sample in written.samples[1:])


def test_a_chat_continues_the_tokens_of_the_chat_template(chat):
    answer = chat.chat(MESSAGES, **OPTIONS)
    ids = [BOS, SYSTEM, 13, EOS, USER, 5, 6, EOS, ASSISTANT]
    ((expected,),) = chat.engine.sample([Request(ids, SamplingParams(**OPTIONS))])
    assert answer.token_ids == expected.token_ids
    assert answer.prompt == MESSAGES


def test_texts_and_conversations_may_share_a_batch(chat):
    steer = tiny_reward(chat.base, "q").toward(4.0)
    together = chat.generate(["w1 w2", MESSAGES], [None, steer], **OPTIONS)
    assert together[0].token_ids == chat.generate("w1 w2", **OPTIONS).token_ids
    assert together[1].token_ids == chat.chat(MESSAGES, steer, **OPTIONS).token_ids


def test_a_conversation_can_be_streamed_ranked_and_searched(chat):
    answer = chat.chat(MESSAGES, **OPTIONS)
    assert "".join(token.text for token in chat.stream(MESSAGES, **OPTIONS)) == answer.text
    (ranked,) = chat.best_of([MESSAGES], 3, tiny_reward(chat.base, "q"), **OPTIONS)
    samples = chat.generate([MESSAGES], n=3, **OPTIONS)[0].samples
    assert sorted(draft.text for draft in ranked.drafts) == sorted(sample.text for sample in samples)
    settings = trimtab.RewindSettings(max_new_tokens=3, iterations=4, fresh_iterations=2, children=2, max_children=2)
    seen = []
    (found,) = chat.rewind([MESSAGES], lambda prompt, text: bool(seen.append(prompt)), settings=settings, seed=0)
    assert set(seen) == {"system: w9\nuser: w1 w2"}
    assert found.prompt == MESSAGES
    assert len(found.token_ids) == 3


def test_each_prompt_may_have_its_own_params(lm):
    params = [SamplingParams(top_k=3, max_new_tokens=2, seed=1), SamplingParams(temperature=0, n=2, seed=2)]
    both = lm.generate(["w1", "w2"], params=params, max_new_tokens=5)
    for prompt, each, found in zip(["w1", "w2"], params, both, strict=True):
        alone = lm.generate(prompt, params=each, max_new_tokens=5)
        assert [s.token_ids for s in found.samples] == [s.token_ids for s in alone.samples]
        assert len(found.token_ids) == 5  # a keyword replaces the field of each


def test_one_params_object_and_keywords_write_the_same_text(lm):
    params = SamplingParams(top_k=3, temperature=0.7, max_new_tokens=5, seed=4)
    by_keywords = lm.generate("w1", top_k=3, temperature=0.7, max_new_tokens=5, seed=4)
    assert lm.generate("w1", params=params).token_ids == by_keywords.token_ids


def test_texts_without_a_seed_differ(lm):
    written = {tuple(lm.generate("w1", top_k=None, max_new_tokens=8).token_ids) for _ in range(4)}
    assert len(written) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompts": ""}, InvalidPrompt, "empty prompt"),
        ({"prompts": " ".join(["w1"] * 64)}, InvalidPrompt, "64 tokens"),
        ({"prompts": []}, InvalidSetting, "no prompts"),
        ({"prompts": "w1", "steer": [None, None]}, InvalidSetting, "got a list of 2 for steer, expected one"),
        (
            {"prompts": ["w1", "w2"], "params": [SamplingParams()]},
            InvalidSetting,
            "got a list of 1 for params, expected one",
        ),
        ({"prompts": "w1", "top_k": 65}, InvalidSetting, "vocabulary size, 64"),
        ({"prompts": "w1", "top_k": -1}, InvalidSetting, "top_k=-1"),
        ({"prompts": "w1", "n": 0}, InvalidSetting, "n=0"),
        ({"prompts": "w1", "max_new_tokens": 0}, InvalidSetting, "max_new_tokens=0"),
        ({"prompts": "w1", "temperature": -1}, InvalidSetting, "temperature=-1"),
        ({"prompts": "w1", "chat": True}, InvalidSetting, "got chat=True, expected one of: top_k, top_p"),
        ({"prompts": [MESSAGES]}, InvalidSetting, "tiny-llama has no chat template"),
    ],
)
def test_a_bad_call_is_refused_before_any_forward_call(llama, lm, arguments, error, message):
    with ForwardCounter(llama.model) as whole, pytest.raises(error, match=message):
        lm.generate(**arguments)
    assert whole.calls == 0


def test_several_samples_cannot_be_streamed(lm):
    with pytest.raises(InvalidSetting, match="got n=2, expected 1 to stream"):
        lm.stream("w1", params=SamplingParams(n=2))


def test_an_unfinite_beta_is_refused(llama):
    with pytest.raises(InvalidSetting, match="beta"):
        tiny_reward(llama, "q").toward(float("inf"))


WRONG_CALLS = """
import trimtab
from tiny import tiny_lm, tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.language_model import LanguageModel

base = tiny_lm("llama")
lm, kind = LanguageModel(TorchEngine(base)), tiny_reward(base, "q")
messages = [{"role": "user", "content": "w1"}]
calls = [
    (lambda: lm.generate("w1", steer="sentiment"), InvalidSetting, "steer"),
    (lambda: lm.generate("w1", steer=3), InvalidSetting, "steer"),
    (lambda: lm.generate("w1", steer=["sentiment"]), InvalidSetting, "steer"),
    (lambda: lm.generate("w1", steer=kind), InvalidSetting, "steer"),
    (lambda: lm.generate("w1", steer=[None, None]), InvalidSetting, "got a list of 2 for steer"),
    (lambda: lm.generate("w1", params={"top_k": 3}), InvalidSetting, "params"),
    (lambda: lm.generate("w1", params="x"), InvalidSetting, "params"),
    (lambda: lm.generate("w1", seed=1.5), InvalidSetting, "seed"),
    (lambda: lm.generate("w1", seed="x"), InvalidSetting, "seed"),
    (lambda: lm.generate("w1", seed=[1, 2]), InvalidSetting, "seed"),
    (lambda: trimtab.reward("sentiment", "smollm2"), InvalidSetting, "lm='smollm2', expected the language model"),
    (lambda: trimtab.SteeringProcessor(kind), InvalidSetting, "expected Steer"),
    (lambda: lm.generate("w1", n=1.5), InvalidSetting, "n=1.5, expected a whole number"),
    (lambda: lm.generate("w1", n="2"), InvalidSetting, "n='2', expected a whole number"),
    (lambda: lm.generate("w1", top_k=2.5), InvalidSetting, "top_k=2.5, expected a whole number"),
    (lambda: lm.generate("w1", temperature=None), InvalidSetting, "temperature=None, expected a number"),
    (lambda: lm.generate("w1", stop=[3]), InvalidSetting, "stop=[3], expected a text or a list of texts"),
    (lambda: lm.generate(None), InvalidPrompt, "got None, expected a text or a list"),
    (lambda: lm.generate(messages[0]), InvalidPrompt, "use chat(messages)"),
    (lambda: lm.rewind("w1", temprature=3), InvalidSetting, "got temprature=3, expected one of: similarity"),
    (lambda: lm.generate(messages), InvalidPrompt, "use chat(messages), or a list of conversations"),
    (lambda: lm.best_of(messages, 2, kind), InvalidPrompt, "use chat(messages), or a list of conversations"),
    (lambda: lm.rewind(messages), InvalidPrompt, "use chat(messages), or a list of conversations"),
    (lambda: lm.generate([3]), InvalidPrompt, "expected a list of messages"),
    (lambda: lm.chat("w1"), InvalidPrompt, "expected a list of messages"),
    (lambda: lm.chat(3), InvalidPrompt, "expected a list of messages"),
    (lambda: lm.best_of("w1", 2, by="sentiment"), InvalidSetting, "by='sentiment', expected a reward or a Steer"),
    (lambda: lm.rewind("w1", steer="x"), InvalidSetting, "steer='x', expected one Steer"),
    (lambda: lm.rewind("w1", steer=[None]), InvalidSetting, "expected one Steer for all prompts"),
    (lambda: lm.rewind("w1", judge=3), InvalidSetting, "got judge=3"),
    (lambda: lm.rewind("w1", similarity=5), InvalidSetting, "similarity=5"),
    (lambda: lm.rewind("w1", settings={"iterations": 3}), InvalidSetting, "expected RewindSettings"),
    (lambda: lm.rewind("w1", seed="x"), InvalidSetting, "seed='x', expected a whole number"),
]
wrong = []
for number, (call, error, message) in enumerate(calls):
    try:
        call()
        wrong.append((number, message, "was accepted"))
    except error as raised:
        if message not in str(raised) or "expected" not in str(raised):
            wrong.append((number, message, str(raised)))
    except Exception as other:
        wrong.append((number, message, repr(other)))
print(*wrong, sep="\\n")
"""


@pytest.mark.long
def test_arguments_of_the_wrong_kind_are_refused_with_the_kind_that_is_expected():
    """In a process of its own, where no run-time type checker answers first."""
    command = [sys.executable, "-c", WRONG_CALLS]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_a_loaded_transformers_model_writes_as_transformers_does():
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(FAMILIES["llama"], dtype=torch.float32)
    lm = trimtab.from_transformers(model, tiny_tokenizer(), name="mine")
    assert (lm.model, lm.base.name) == (model, "mine")
    assert lm.tokenizer.get_vocab() == tiny_tokenizer().get_vocab()
    testing.assert_greedy_equals_transformers(lm, TEXTS, 8)


def test_a_transformers_model_keeps_the_name_it_was_loaded_by(llama, tmp_path):
    llama.model.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert trimtab.from_transformers(model, tiny_tokenizer()).base.name == str(tmp_path)


def test_a_reward_shares_the_weights_of_the_model_it_is_loaded_for(llama, lm, tmp_path):
    tiny_reward(llama, "q").save_pretrained(tmp_path / "kind")
    reward = trimtab.reward(str(tmp_path / "kind"), lm)
    assert reward.base is lm.base


def test_a_model_in_another_process_has_no_base():
    lm = LanguageModel(testing.ScriptedEngine(testing.WordCodec(["a"]), lambda words: {"a": 1.0}))
    for attribute in ("base", "model", "tokenizer"):
        with pytest.raises(UnsupportedByEngine, match="ScriptedEngine keeps it elsewhere"):
            getattr(lm, attribute)


def test_a_session_counts_its_own_usage_and_the_model_counts_both(llama):
    lm = LanguageModel(TorchEngine(llama))
    session = lm.session()
    session.generate("w1 w2 w3", **OPTIONS)
    lm.generate("w1", max_new_tokens=2, seed=0)
    assert session.engine.usage == Usage(3 + 3, 4)
    assert lm.engine.usage == Usage(3 + 3 + 1 + 1, 4 + 2)


def test_the_representation_names_the_engine_and_the_model(lm):
    assert repr(lm) == "LanguageModel('tiny-llama', TorchEngine)"


@pytest.mark.parametrize("round_", range(2))
def test_eight_threads_write_the_texts_that_they_write_alone(llama, lm, round_):
    arm, rad = tiny_reward(llama, "q", seed=1), tiny_reward(llama, "v", seed=2)
    own = tiny_reward(llama, "q", "frozen", seed=3, bos_token_id=None)
    steers = [None, arm.toward(5.0), rad.toward(5.0), own.toward(5.0), own.away(2.0), arm.away(3.0) + rad.toward(1.0)]
    steers += [None, rad.away(2.0)]
    prompts = [f"w{number} w{2 * number}" * (1 + number % 3) for number in range(8)]
    options = {"top_k": 6, "max_new_tokens": 12, "seed": round_}
    testing.assert_threads_change_nothing(lm, prompts, steers, **options)


def test_threads_take_turns_at_the_model(llama, lm):
    """No forward call starts while another one runs."""
    inside, overlaps = [], []

    def enter(*_):
        overlaps.append(len(inside))
        inside.append(1)
        time.sleep(0.001)

    def leave(*_):
        inside.pop()

    hooks = [llama.body.register_forward_pre_hook(enter), llama.body.register_forward_hook(leave)]
    reward = tiny_reward(llama, "q", "frozen", bos_token_id=None)
    calls = [
        lambda: lm.generate("w1 w2", reward.toward(2.0), max_new_tokens=10, seed=0),
        lambda: list(lm.stream("w3", max_new_tokens=10, seed=0)),
        lambda: lm.best_of("w4", 3, reward, max_new_tokens=5, seed=0),
        lambda: lm.engine.score([[5, 6]] * 5, [[[7, 8]]] * 5),
        lambda: lm.engine.states([[5, 6, 7]] * 5, [1] * 5),
    ]
    with ThreadPoolExecutor(len(calls)) as threads:
        list(threads.map(lambda call: call(), calls * 2))
    for hook in hooks:
        hook.remove()
    assert len(overlaps) > 40
    assert set(overlaps) == {0}


def test_threads_may_stream_and_search_at_the_same_time(lm):
    def likes_long_words(prompt, text):
        return min(sum(len(word) for word in text.split()) / 30, 1.0)

    settings = trimtab.RewindSettings(max_new_tokens=4, iterations=6, fresh_iterations=2, children=3, max_children=3)
    calls = [
        lambda: [token.token_id for token in lm.stream("w1 w2", max_new_tokens=20, seed=1)],
        lambda: lm.rewind("w3 w4", likes_long_words, settings=settings, seed=2).token_ids,
        lambda: lm.generate("w5 w6", max_new_tokens=20, seed=3).token_ids,
        lambda: lm.rewind("w7", likes_long_words, settings=settings, seed=4).token_ids,
    ]
    alone = [call() for call in calls]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda call: call(), calls)) == alone


def test_a_stream_joined_equals_sample(frozen, family_lm, head):
    reward = tiny_reward(frozen, head)
    requests = [
        Request([10, 11, 12], SamplingParams(top_k=6, max_new_tokens=7, n=2, seed=1), reward.toward(4.0)),
        Request([20], SamplingParams(top_k=3, max_new_tokens=3, seed=2)),
        Request([30, 31], SamplingParams(top_k=6, max_new_tokens=9, seed=3, stop=["w1", "w2"]), reward.away(4.0)),
    ]
    testing.assert_stream_equals_sample(family_lm, requests)
