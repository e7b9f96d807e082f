import gzip
import json
from dataclasses import replace

import pytest

from tiny import tiny_reward
from tiny_chat import chat_lm
from trimtab import errors, jobs
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.rewind.rewind_settings import Budget, RewindSettings

LINES = [
    json.dumps({"prompt": "w1 w2"}),
    "{broken",
    json.dumps({"prompt": "w3 \u2028 w4"}, ensure_ascii=False),
    json.dumps({"prompt": ""}),
    json.dumps({"text": "no prompt"}),
    json.dumps({"prompt": "w5"}),
    json.dumps({"prompt": "w6 w7 w8"}),
    json.dumps({"prompt": " ".join(["w1"] * 70)}),
]
SAMPLING = SamplingParams(n=2, top_k=5, max_new_tokens=4, seed=3)
JOB = jobs.Job(model="tiny", steer=("x=+2",), sampling=SAMPLING)
CONVERSATION = [{"role": "user", "content": "w1 w2"}]
SYSTEM = {"role": "system", "content": "w9"}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def run(lm, source, target, job=JOB, batch_size=2, **options):
    steer = tiny_reward(lm.base, "q").toward(2.0)
    return jobs.run_file(
        lm, source, target, lambda batch: jobs.write_prompts(lm, batch, steer, job), job, batch_size, **options
    )


def test_usable_lines_are_continued_and_the_others_named(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    seen = []
    faults = run(lm, source, target, progress=lambda done, total: seen.append((done, total)))
    rows = rows_of(target)
    assert [(row["line"], row["sample"]) for row in rows] == [(n, s) for n in (1, 3, 6, 7) for s in (0, 1)]
    assert [fault.split(":")[0] for fault in faults] == [f"line {n}" for n in (2, 4, 5, 8)]
    assert seen == [(0, 4), (2, 4), (4, 4)]
    for row in rows:
        assert set(row) >= {"prompt", "text", "tokens", "rewards", "steer", "finish_reason"}
        assert len(row["tokens"]) == len(row["token_ids"]) == len(row["rewards"]["tiny-q:kind"])
        assert row["steer"] == ["x=+2"]


@pytest.mark.parametrize("keep", [0, 1, 3, 4, 5])
@pytest.mark.parametrize("torn", ["", '{"line": 6, "samp'])
def test_an_interrupted_run_resumes_to_the_same_rows(lm, source, tmp_path, keep, torn):
    whole = tmp_path / "whole.jsonl"
    run(lm, source, whole)
    target = tmp_path / "out.jsonl"
    run(lm, source, target)
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("".join(line + "\n" for line in lines[:keep]) + torn, encoding="utf-8")
    run(lm, source, target)
    for found, expected in zip(rows_of(target), rows_of(whole), strict=True):
        for name, rewards in expected.pop("rewards").items():  # other batches round their last digits differently
            assert found["rewards"][name] == pytest.approx(rewards, abs=1e-5)
        assert {name: value for name, value in found.items() if name != "rewards"} == expected
    before = target.read_bytes()
    run(lm, source, target)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": replace(SAMPLING, seed=4)},
        {"sampling": replace(SAMPLING, n=1)},
        {"method": "rad"},
        {"steer": ()},
        {"dtype": "bfloat16"},
    ],
)
def test_rows_of_other_settings_are_never_mixed(lm, source, tmp_path, change):
    target = tmp_path / "out.jsonl"
    run(lm, source, target)
    before = target.read_bytes()
    other = jobs.Job(**{**vars(JOB), **change})
    with pytest.raises(errors.InvalidData, match="other settings"):
        run(lm, source, target, job=other)
    assert target.read_bytes() == before


def test_a_file_without_usable_prompts_is_refused(lm, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(errors.InvalidData, match="no usable prompt"):
        run(lm, empty, tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidData, match="no such file"):
        run(lm, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidSetting, match="batch_size"):
        run(lm, empty, tmp_path / "out.jsonl", batch_size=0)


def test_a_target_that_answers_other_prompts_is_refused(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run(lm, source, target)
    source.write_text(source.read_text(encoding="utf-8").replace("w5", "w15"), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="other prompts"):
        run(lm, source, target)


def test_files_that_cannot_be_used_are_named(lm, source, tmp_path):
    with pytest.raises(errors.InvalidData, match=r"plain \.jsonl"):
        run(lm, source, tmp_path / "out.jsonl.gz")
    for content in (b"junk", gzip.compress(b'{"prompt": "w1"}' * 100)[:-20]):
        damaged = tmp_path / "in.jsonl.gz"
        damaged.write_bytes(content)
        with pytest.raises(errors.InvalidData, match="gzip"):
            run(lm, damaged, tmp_path / "out.jsonl")


def test_a_prompt_without_an_encoding_is_one_fault_and_the_others_are_continued(lm, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1 \\ud800"}\n{"prompt": "w2"}\n', encoding="utf-8")
    faults = run(lm, source, tmp_path / "out.jsonl")
    assert len(faults) == 1
    assert "UTF-8" in faults[0]


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
        ({"messages": CONVERSATION, "prompt": "w3"}, {"chat": True}, CONVERSATION),
        ({"messages": "w1", "prompt": "w3"}, {}, "w3"),
    ],
)
def test_a_row_becomes_a_text_or_a_conversation(row, settings, expected):
    assert jobs.as_prompt(row, **settings) == expected


@pytest.mark.parametrize("row", [{}, {"text": "w1"}, {"prompt": 3}, {"messages": "w1"}, {"prompt": None}])
def test_a_row_without_a_prompt_is_refused(row):
    with pytest.raises(errors.InvalidPrompt, match='"prompt", or a list of messages under "messages"'):
        jobs.as_prompt(row)


@pytest.fixture(scope="module")
def chat():
    return LanguageModel(TorchEngine(chat_lm()))


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_conversations_of_a_file_are_answered_and_malformed_ones_named(chat, tmp_path):
    rows = [
        {"messages": CONVERSATION},
        {"messages": [{"role": "user"}]},
        {"messages": []},
        {"messages": [SYSTEM, *CONVERSATION, {"role": "assistant", "content": "w3"}, *CONVERSATION]},
        {"prompt": "w5"},
    ]
    job = replace(JOB, steer=(), sampling=replace(SAMPLING, n=1))
    target = tmp_path / "out.jsonl"
    faults = jobs.run_file(
        chat,
        write_lines(tmp_path / "in.jsonl", rows),
        target,
        lambda batch: jobs.write_prompts(chat, batch, None, job),
        job,
        2,
    )
    assert [fault.split(":")[0] for fault in faults] == ["line 2", "line 3"]
    options = {"top_k": 5, "max_new_tokens": 4, "seed": 3}
    expected = [chat.chat(rows[0]["messages"], **options), chat.chat(rows[3]["messages"], **options)]
    found = rows_of(target)
    assert [row["text"] for row in found] == [*(each.text for each in expected), chat.generate("w5", **options).text]
    assert [row.get("messages") for row in found] == [rows[0]["messages"], rows[3]["messages"], None]
    assert [row.get("prompt") for row in found] == [None, None, "w5"]


@pytest.mark.parametrize(
    ("settings", "messages"), [({"chat": True}, CONVERSATION), ({"system": "w9"}, [SYSTEM, *CONVERSATION])]
)
def test_texts_of_a_file_are_sent_as_user_messages_and_resume(chat, tmp_path, settings, messages):
    job = replace(JOB, steer=(), sampling=replace(SAMPLING, n=1), **settings)
    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "w1 w2"}, {"prompt": "w7"}])
    target = tmp_path / "out.jsonl"

    def run_job():
        jobs.run_file(chat, source, target, lambda batch: jobs.write_prompts(chat, batch, None, job), job, 1)

    run_job()
    whole = target.read_bytes()
    answer = chat.chat(messages, top_k=5, max_new_tokens=4, seed=3)
    assert (rows_of(target)[0]["text"], rows_of(target)[0]["prompt"]) == (answer.text, "w1 w2")
    target.write_bytes(whole[: whole.index(b"\n") + 20])
    run_job()
    assert target.read_bytes() == whole


def test_conversations_without_a_chat_template_stop_the_job_before_anything_is_written(lm, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [{"messages": CONVERSATION}])
    with pytest.raises(errors.InvalidSetting, match="no chat template"):
        run(lm, source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def rewind_job(**changes):
    settings = RewindSettings(max_new_tokens=3, iterations=4, fresh_iterations=2, children=3, max_children=3, top_k=4)
    given = {
        "model": "tiny",
        "judge": "short",
        "steer": (),
        "method": None,
        "settings": settings,
        "budget": Budget(),
        "similarity": "off",
        "seed": 5,
        "chat": False,
        "system": None,
        "stop": (),
        "judge_chat": False,
        "judge_soft": False,
        "judge_alone": False,
        "dtype": "auto",
    }
    return jobs.RewindJob(**{**given, **changes})


def shortness(prompt, text):
    return 1 / (1 + len(text))


def test_searches_over_a_file_write_the_results_of_each_prompt_alone(lm, tmp_path):
    job = rewind_job()
    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "w1 w2"}, {"prompt": "w7"}])
    target = tmp_path / "out.jsonl"

    def search(batch):
        found = jobs.search_prompts(lm, batch, shortness, None, job)
        return [jobs.describe_search(prompt, result) for prompt, result in zip(batch, found, strict=True)]

    assert jobs.run_file(lm, source, target, search, job, 2) == []
    for row, prompt in zip(rows_of(target), ["w1 w2", "w7"], strict=True):
        alone = lm.rewind(prompt, shortness, settings=job.settings, similarity="off", seed=5)
        assert (row["prompt"], row["text"], row["token_ids"]) == (prompt, alone.text, alone.token_ids)
        assert row["iterations"] == alone.iterations
        assert row["call"]["tokens"] > 0


def test_an_interrupted_search_is_not_written(lm):
    def interrupt(progress):
        raise KeyboardInterrupt

    prompt = jobs.NumberedPrompt(1, "w1 w2", {"prompt": "w1 w2"})
    (result,) = jobs.search_prompts(lm, [prompt], shortness, None, rewind_job(), interrupt)
    with pytest.raises(KeyboardInterrupt):
        jobs.describe_search(prompt, result)


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
    faults = run(lm, source, tmp_path / "out.jsonl", room=jobs.steer_room(steer))
    assert len(faults) == 1
    assert "line 2: got a prompt of 63 tokens" in faults[0]
    assert jobs.steer_room(None) is None
