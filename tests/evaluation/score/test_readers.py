"""Readers: judges on what a task shows them, perplexity by whole forwards, rewards along a text."""

import math

import pytest
import torch

from tiny import tiny_reward
from tiny_sweep import LENGTH, messages
from trimtab.errors import InvalidPrompt, InvalidSetting, NonFiniteReward, UnsupportedByEngine
from trimtab.evaluation.report.collect import measure, read_rows
from trimtab.evaluation.score.readers import fluency_reader, judge_reader, profile_reader
from trimtab.evaluation.score.readings import Readings
from trimtab.evaluation.tasks import TASKS
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.text_judges import FunctionJudge, TextJudge

TEXT = {"prompt": "w1 w2", "text": " w3", "token_ids": [7]}


@pytest.mark.parametrize(("task", "shown"), [("toxicity", " w3"), ("prompts", " w3"), ("sentiment", "w1 w2 w3")])
def test_a_task_shows_judges_the_continuation_or_the_whole(task, shown):
    seen = []
    judge = TextJudge("spy", lambda texts: seen.extend(texts) or [0.5] * len(texts))
    assert judge_reader(judge, TASKS[task])([TEXT, TEXT]) == [[0.5], [0.5]]
    assert seen == [shown, shown]


def test_a_function_judge_is_shown_the_prompt_with_the_continuation():
    judge = FunctionJudge(lambda prompt, text: float((prompt, text) == ("w1 w2", " w3")))
    assert judge_reader(judge, TASKS["toxicity"])([TEXT]) == [[1.0]]


def test_a_reward_judge_scores_the_texts_of_a_comparison(lm):
    """A RewardJudge, which asks the engine, scores the texts of a comparison."""
    reward = tiny_reward(lm.base, "q")
    ids = [*lm.tokenizer("w1 w2")["input_ids"], 7]
    for task, clamped in (("toxicity", ids), ("sentiment", ids)):
        ((score,),) = judge_reader(RewardJudge(reward.away(1)), TASKS[task], lm.engine)([TEXT])
        assert score == pytest.approx(1 - reward.score_ids([clamped]).values[0, -1, 0].clamp(0, 1).item(), abs=1e-4)


def test_a_judge_that_needs_an_engine_is_refused_without_one(lm, whole):
    judge = RewardJudge(tiny_reward(lm.base, "q").away(1))
    with pytest.raises(InvalidSetting, match=r"engine=lm\.engine"):
        measure(whole, [judge])


def test_perplexity_by_another_model_equals_whole_forwards(lm, copied):
    report = measure(copied, [LENGTH], {"perplexity:tiny": fluency_reader(lm.engine)})
    for row in report.rows:
        nats, tokens = 0.0, 0
        for text in row.row.flat:
            ids, start = (lm.tokenizer(part)["input_ids"] for part in (text["prompt"] + text["text"], text["prompt"]))
            with torch.no_grad():
                logprobs = lm.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            nats -= sum(logprobs[place - 1, ids[place]].item() for place in range(len(start), len(ids)))
            tokens += len(ids) - len(start)
        assert row.figures["perplexity:tiny"].value == pytest.approx(math.exp(nats / tokens), rel=1e-4)


def test_an_empty_continuation_costs_nothing(lm):
    (reading,) = fluency_reader(lm.engine)([{"prompt": "w1", "text": ""}])
    assert reading == [0.0, 0.0]


def test_perplexity_needs_an_engine_that_scores():
    from fake_engine import FakeEngine

    with pytest.raises(UnsupportedByEngine, match="perplexity needs"):
        fluency_reader(FakeEngine(lambda prefix, text: 0.0, capabilities=()))


def test_a_profile_is_the_reward_after_each_tenth_of_the_continuation(llama):
    reward = tiny_reward(llama, "v", seed=4)
    words = [f"w{n}" for n in range(1, 13)]
    (profile,) = profile_reader(reward, "calm")([{"prompt": "w1 w2", "text": " " + " ".join(words[2:])}])
    expected = [reward.score(" ".join(words[: 2 + done]))[0, 1].item() for done in range(1, 11)]  # 10 tokens, 10 tenths
    assert profile == pytest.approx(expected, abs=1e-5)


def test_profiles_are_averaged_over_the_first_samples(llama, copied):
    """The tiny tokenizer joins the last word of a prompt and the first of its text; a text of one word is not read."""
    reward = tiny_reward(llama, "v", seed=4)
    report = measure(copied, [LENGTH], {"profile:tiny": profile_reader(reward, "calm")})
    texts = {row.name: row for row in read_rows(copied)}
    for row in report.rows:
        first = [of_prompt[0] for of_prompt in texts[row.row.name].texts]
        read = [text["prompt"] + text["text"] for text in first if len(text["text"].split()) > 1]
        last = [reward.score(text)[0, 1].item() for text in read]
        assert row.profile[-1] == pytest.approx(sum(last) / len(last), abs=1e-5)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_reward_as_judge_must_be_finite_and_other_judges_may_fail(score):
    read = judge_reader(TextJudge("reward:mine:kind", lambda texts: [score] * len(texts)), TASKS["toxicity"])
    with pytest.raises(NonFiniteReward, match="'mine:kind'"):
        read([TEXT])
    ((kept,),) = judge_reader(TextJudge("mine", lambda texts: [score]), TASKS["toxicity"])([TEXT])
    assert not math.isfinite(kept)


def test_a_profile_of_a_damaged_reward_is_an_error(lm):
    reward = tiny_reward(lm.base, "v")
    with torch.no_grad():
        for weight in reward.network.head.parameters():
            weight.fill_(math.nan)
    with pytest.raises(NonFiniteReward, match="tiny-v"):
        profile_reader(reward, None)([TEXT])


ANSWER = {"prompt": "w1 w2", "text": "w3 w4", "token_ids": [7, 8], "messages": messages("w1 w2")}


@pytest.mark.parametrize("task", ["toxicity", "prompts", "sentiment"])
def test_judges_of_answers_read_the_answer_alone(task):
    seen = []
    judge = TextJudge("spy", lambda texts: seen.extend(texts) or [0.5] * len(texts))
    judge_reader(judge, TASKS[task])([ANSWER])
    both = FunctionJudge(lambda prompt, text: float((prompt, text) == ("system: w9 w8\nuser: w1 w2", "w3 w4")))
    assert seen == ["w3 w4"]
    assert judge_reader(both, TASKS[task])([ANSWER]) == [[1.0]]


@pytest.mark.parametrize("task", ["toxicity", "sentiment"])
def test_a_reward_judge_reads_the_answer_behind_the_conversation(chatting, task):
    reward = tiny_reward(chatting.base, "q")
    start = chatting.tokenizer.apply_chat_template(messages("w1 w2"), add_generation_prompt=True, return_dict=False)
    ((score,),) = judge_reader(RewardJudge(reward.toward(1)), TASKS[task], chatting.engine)([ANSWER])
    assert score == pytest.approx(reward.score_ids([[*start, 7, 8]]).values[0, -1, 0].clamp(0, 1).item(), abs=1e-4)


def test_perplexity_of_answers_by_another_model_equals_whole_forwards(chatting, copied_chat):
    report = measure(copied_chat, [LENGTH], {"perplexity:tiny": fluency_reader(chatting.engine)})
    for row in report.rows:
        nats, tokens = 0.0, 0
        for text in row.row.flat:
            turns = messages(text["prompt"])
            start = chatting.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            ids = [*start, *chatting.tokenizer(text["text"])["input_ids"]]
            with torch.no_grad():
                logprobs = chatting.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            nats -= sum(logprobs[place - 1, ids[place]].item() for place in range(len(start), len(ids)))
            tokens += len(ids) - len(start)
        assert tokens > len(row.row.flat)
        assert row.figures["perplexity:tiny"].value == pytest.approx(math.exp(nats / tokens), rel=1e-4)


def test_an_answer_that_is_too_long_for_the_reader_is_an_error(chatting):
    with pytest.raises(InvalidPrompt, match="expected at most 64"):
        fluency_reader(chatting.engine)([{**ANSWER, "text": " ".join(["w3"] * 60)}])
    with pytest.raises(InvalidPrompt, match="expected 1 to 63"):
        profile_reader(tiny_reward(chatting.base, "v"), None)([{**ANSWER, "text": " ".join(["w3"] * 60)}])


def test_a_profile_of_an_answer_has_the_conversation_before_it(chatting):
    reward = tiny_reward(chatting.base, "v", seed=4)
    words = [f"w{n}" for n in range(3, 13)]
    (profile,) = profile_reader(reward, "calm")([{**ANSWER, "text": " ".join(words)}])
    start = chatting.tokenizer.apply_chat_template(messages("w1 w2"), add_generation_prompt=True, return_dict=False)
    ids = chatting.tokenizer(" ".join(words))["input_ids"]
    expected = [reward.score_ids([[*start, *ids[:done]]]).values[0, -1, 1].item() for done in range(1, 11)]
    assert profile == pytest.approx(expected, abs=1e-5)


def test_readings_of_messages_are_others_than_those_of_plain_prompts(tmp_path):
    """Where a folder is used again, the same words may have been a plain prompt before."""
    saved = Readings(tmp_path)
    text = {"place": 0, "sample": 0, "prompt": "w1", "text": "w2"}
    assert saved.of("row", "reader", [text], lambda texts: [[1.0]]) == [[1.0]]
    asked = {**text, "messages": messages("w1")}
    assert saved.of("row", "reader", [asked], lambda texts: [[2.0]]) == [[2.0]]
    assert saved.of("row", "reader", [asked], None) == [[2.0]]
