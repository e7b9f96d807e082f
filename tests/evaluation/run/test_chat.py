"""A comparison whose prompts are messages: its texts are the answers of the public calls to the same conversations."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from tiny import tiny_reward
from tiny_chat import TEMPLATE, chat_lm
from tiny_sweep import CHAT_SETTINGS, SETS, SETTINGS, contents, messages, tiny_sweep
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.evaluation.report.collect import measure, read_rows
from trimtab.evaluation.run.methods import Method
from trimtab.evaluation.run.plan import Plan
from trimtab.evaluation.run.prompt_sets import read_prompt_set
from trimtab.evaluation.run.row_file import read_row
from trimtab.evaluation.run.sweep import Sweep
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.evaluation.run.timing import Clock, time_methods
from trimtab.judges.reward_judge import RewardJudge
from trimtab.language_model import LanguageModel
from trimtab.rewind.rewind_settings import RewindSettings

PARAMS = SamplingParams(n=3, max_new_tokens=4, seed=0, top_k=6)
CONVERSATIONS = list(map(messages, SETS[0].prompts))


@pytest.fixture(scope="module")
def rows(whole_chat):
    return {row.name: row for row in read_rows(whole_chat)}


def texts_of(row):
    return [[text["text"] for text in of_prompt] for of_prompt in row.texts]


def flat(row):
    return [text["text"] for text in row.flat]


@pytest.mark.parametrize("beta", [0, 5.0])
def test_texts_are_the_answers_to_the_conversations(chatting, rows, beta):
    row = rows[f"some--up--{'q=5' if beta else 'top-k=0'}"]
    steer = tiny_reward(chatting.base, "q").toward(beta) if beta else None
    expected = chatting.generate(CONVERSATIONS, steer, PARAMS)
    assert texts_of(row) == [[each.text for each in of_prompt.samples] for of_prompt in expected]
    answer = chatting.chat(messages("w3"), steer, PARAMS)
    assert texts_of(row)[1] == [each.text for each in answer.samples]
    plain = chatting.generate(list(SETS[0].prompts), steer, PARAMS)
    assert texts_of(row) != [[each.text for each in of_prompt.samples] for of_prompt in plain]


def test_rows_keep_the_text_of_the_table(whole_chat):
    for path in whole_chat.glob("some--*.jsonl"):
        settings, texts, _ = read_row(path)
        assert [text["prompt"] for text in texts] == [prompt for prompt in SETS[0].prompts for _ in range(3)]
        assert all("messages" not in text for text in texts)
        assert (settings["chat"], settings["system"]) == (True, "w9 w8")


def test_drafts_are_ranked_by_the_reward_of_the_conversation(chatting, rows):
    reward = tiny_reward(chatting.base, "q")
    drafts = chatting.generate(CONVERSATIONS, params=replace(PARAMS, n=6))
    best = []
    for conversation, of_prompt in zip(CONVERSATIONS, drafts, strict=True):
        start = chatting.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
        scores = [
            reward.score_ids([[*start, *(i for i in draft.token_ids if i != 2)]]).values[0, -1, 0].item()
            for draft in of_prompt.samples
        ]
        places = [max((first, first + 1), key=lambda place, of=scores: of[place]) for first in (0, 2, 4)]
        best.append([of_prompt.samples[place].text for place in places])
    assert texts_of(rows["some--up--best-of-2-by-tiny-q"]) == best


def test_searches_are_those_of_the_conversations(chatting, tmp_path):
    reward = tiny_reward(chatting.base, "q")
    settings = replace(CHAT_SETTINGS, samples=2, max_new_tokens=3)
    grid = Grid(best_of=[2], by="q", block=[2], halve_every=[2], rewind=["q"])
    plan = Plan(grid, settings, {"q": [(reward, None)]}, (reward, None), [(reward, None)])
    Sweep("prompts", [row for row in plan.rows(SETS[:1]) if "tiny-q" in row.name], settings, tmp_path).run(chatting)
    found = {row.settings["method"]: flat(row) for row in read_rows(tmp_path)}
    every, seeds = [each for each in CONVERSATIONS for _ in range(2)], [0, 1] * 3
    expected = chatting.rewind(every, RewardJudge(reward.toward(1)), None, RewindSettings(max_new_tokens=3), seed=seeds)
    assert found["rewound by tiny-q"] == [each.text for each in expected]
    for name, way in ((" in blocks of 2", {"block": 2}), (", halved every 2", {"halve_every": 2})):
        params = [replace(PARAMS, n=1, max_new_tokens=3, seed=seed) for seed in seeds]
        expected = chatting.best_of(every, 2, reward.toward(1.0), params=params, **way)
        assert found[f"best of 2 by tiny-q{name}"] == [each.text for each in expected]


@torch.inference_mode()
def test_perplexity_equals_whole_forwards_behind_the_conversation(chatting, whole_chat):
    report = measure(whole_chat, [])
    for row in (row for row in report.rows if row.row.settings["prompts"] == "some"):
        nats, tokens = 0.0, 0
        for text in row.row.flat:
            conversation = messages(text["prompt"])
            start = chatting.tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_dict=False)
            ids = torch.tensor([[*start, *text["token_ids"]]])
            logprobs = chatting.model(ids).logits[0].double().log_softmax(-1)
            places = range(len(start), ids.shape[1])
            nats -= sum(logprobs[place - 1, ids[0, place]].item() for place in places)
            tokens += len(places)
        expected = torch.tensor(nats / tokens).exp().item()
        assert row.figures["perplexity"].value == pytest.approx(expected, rel=1e-4)


def test_a_killed_sweep_resumes_to_the_same_bytes(chatting, whole_chat, copied_chat):
    target = copied_chat / "some--up--q=5.jsonl"
    target.write_text("".join(target.read_text(encoding="utf-8").splitlines(True)[:8]), encoding="utf-8")
    tiny_sweep(chatting, copied_chat, CHAT_SETTINGS).run(chatting)
    assert contents(copied_chat) == contents(whole_chat)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"chat": False, "system": None}, "chat: True there"),
        ({"system": None}, "system: 'w9 w8' there"),
        ({"system": "w9"}, "system: 'w9 w8' there, 'w9' here"),
    ],
)
def test_another_form_is_another_comparison(chatting, whole_chat, copied_chat, change, named):
    with pytest.raises(InvalidData, match=named):
        tiny_sweep(chatting, copied_chat, replace(CHAT_SETTINGS, **change)).check(chatting)
    assert contents(copied_chat) == contents(whole_chat)


def test_a_system_message_implies_chat(chatting, copied_chat):
    tiny_sweep(chatting, copied_chat, replace(CHAT_SETTINGS, chat=False)).check(chatting)


def test_rows_without_the_setting_are_plain_texts(lm, copied):
    """So are rows that an older version wrote; they do not resume as a chat."""
    assert all("chat" not in row.settings and "system" not in row.settings for row in read_rows(copied))
    assert all("messages" not in text for row in read_rows(copied) for text in row.flat)
    with pytest.raises(InvalidData, match="chat: False there, True here"):
        tiny_sweep(lm, copied, replace(SETTINGS, chat=True)).check(lm)


def test_plain_rows_and_answers_have_no_common_report(copied, copied_chat):
    shutil.copy(copied / "some--up--q=5.jsonl", copied_chat)
    with pytest.raises(InvalidData, match=r"do not belong together .*chat: True there, False here"):
        measure(copied_chat, [])


def test_another_chat_template_is_refused(copied_chat):
    changed = chat_lm()
    changed.tokenizer.chat_template = TEMPLATE.replace("w50", "w49")
    lm = LanguageModel(TorchEngine(changed))
    with pytest.raises(InvalidData, match="chat_template_fingerprint"):
        tiny_sweep(lm, copied_chat, CHAT_SETTINGS).check(lm)


def test_prompts_are_checked_as_conversations(chatting, llama, tmp_path):
    """The context has 64 tokens; the template adds 12 with this system message."""
    path = tmp_path / "some.jsonl"
    rows = [{"prompt": " ".join(["w1"] * count)} for count in (1, 40, 60)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = SweepSettings(system=" ".join(["w2"] * 4))
    found = read_prompt_set(str(path), "up", chatting.engine.codec, "prompt", None, form=settings.form)
    assert [len(prompt.split()) for prompt in found.prompts] == [1, 40]
    assert len(found.faults) == 1
    assert len(read_prompt_set(str(path), "up", chatting.engine.codec, "prompt", None).prompts) == 3
    with pytest.raises(InvalidSetting, match="no chat template"):
        read_prompt_set(str(path), "up", llama.codec, "prompt", None, form=settings.form)


def test_methods_are_timed_on_the_conversations(chatting):
    seen = []

    def write(lm, prompts):
        seen.append(prompts)
        return [[each] for each in lm.generate(prompts, params=PARAMS)]

    time_methods(chatting, [Method("top-k", None, write)], SETS[0], Clock(None), 1, form=CHAT_SETTINGS.form)
    assert seen == [CONVERSATIONS] * 2
