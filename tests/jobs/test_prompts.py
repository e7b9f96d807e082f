import json

import pytest

from tiny import tiny_reward
from tiny_chat import chat_lm
from tiny_job import run_job
from trimtab import errors, jobs
from trimtab.rewind.new_search import room_for_text

CONVERSATION = [{"role": "user", "content": "w1 w2"}]
SYSTEM = {"role": "system", "content": "w9"}


@pytest.mark.parametrize(
    ("row", "settings", "expected"),
    [
        ({"prompt": "w1 w2"}, {}, "w1 w2"),
        ({"prompt": "w1 w2"}, {"chat": True}, CONVERSATION),
        ({"prompt": "w1 w2"}, {"system": "w9"}, [SYSTEM, *CONVERSATION]),
        ({"messages": CONVERSATION}, {}, CONVERSATION),
        ({"messages": CONVERSATION}, {"system": "w9"}, [SYSTEM, *CONVERSATION]),
        (
            {"messages": [{**SYSTEM, "content": "w8"}, *CONVERSATION]},
            {"system": "w9"},
            [{**SYSTEM, "content": "w8"}, *CONVERSATION],
        ),
        ({"messages": CONVERSATION, "prompt": None}, {}, CONVERSATION),
    ],
)
def test_a_row_becomes_a_text_or_a_conversation(row, settings, expected):
    assert jobs.as_prompt(row, **settings) == expected


def test_a_row_with_two_prompts_is_refused():
    with pytest.raises(errors.InvalidPrompt, match='"prompt" and "messages" in a row, expected one of them'):
        jobs.as_prompt({"messages": CONVERSATION, "prompt": "w3"})


@pytest.mark.parametrize("row", [{}, {"text": "w1"}, {"prompt": 3}, {"messages": "w1"}, {"prompt": None}])
def test_a_row_without_a_prompt_is_refused(row):
    with pytest.raises(errors.InvalidPrompt, match='"prompt", or a list of messages under "messages"'):
        jobs.as_prompt(row)


def test_a_steer_in_a_row_is_refused_and_not_left_out():
    with pytest.raises(errors.InvalidPrompt, match="expected it as --steer"):
        jobs.as_prompt({"prompt": "w1", "steer": "toxicity=-30"})


def test_texts_of_the_command_line_are_numbered_from_one():
    plain = jobs.number_prompts(["w1 w2", "w3"], chat=False, system=None)
    assert [(each.line, each.prompt, each.given) for each in plain] == [
        (1, "w1 w2", {"prompt": "w1 w2"}),
        (2, "w3", {"prompt": "w3"}),
    ]
    (sent,) = jobs.number_prompts(["w1 w2"], chat=True, system="w9")
    assert (sent.prompt, sent.given) == ([SYSTEM, *CONVERSATION], {"prompt": "w1 w2"})


def test_a_template_that_refuses_a_conversation_is_a_fault_of_its_line(tmp_path):
    frozen = chat_lm()
    frozen.tokenizer.chat_template = "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %} w1"
    source = tmp_path / "in.jsonl"
    rows = [{"messages": CONVERSATION}, {"messages": [SYSTEM, *CONVERSATION]}, {"messages": []}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompts, faults = jobs.read_prompts(source, frozen.codec, False, None)
    assert [prompt.line for prompt in prompts] == [1]
    assert ["one turn only" in faults[0], "expected an object" in faults[1]] == [True, True]


def test_no_messages_are_refused_also_with_a_system_message():
    with pytest.raises(errors.InvalidPrompt, match="expected an object"):
        jobs.as_prompt({"messages": []}, system="w9")


def test_a_prompt_that_leaves_the_reward_no_room_is_a_fault_of_its_line(lm, tmp_path):
    """BOS takes a place in the reward's context of 64: a prompt of 63 tokens fits the model, not the reward."""
    steer = tiny_reward(lm.base, "q").toward(2.0)
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"prompt": " ".join(["w1"] * n)}) + "\n" for n in (62, 63)), encoding="utf-8")
    faults = run_job(
        lm,
        source,
        tmp_path / "out.jsonl",
        check=lambda prompt, ids: room_for_text(lm.engine.codec, prompt, ids, steer, None),
    )
    assert len(faults) == 1
    assert "line 2: got a prompt of 63 tokens" in faults[0]


def test_a_prompt_without_an_encoding_is_one_fault_and_the_others_are_continued(lm, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1 \\ud800"}\n{"prompt": "w2"}\n', encoding="utf-8")
    faults = run_job(lm, source, tmp_path / "out.jsonl")
    assert len(faults) == 1
    assert "UTF-8" in faults[0]
