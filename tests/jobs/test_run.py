import gzip
from dataclasses import replace

import pytest

from byte_lm import byte_lm
from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm
from tiny_job import CONVERSATION, JOB, LINES, SAMPLING, SYSTEM, json_rows, run_job, write_lines
from trimtab import errors, jobs
from trimtab.engines.torch.engine import TorchEngine
from trimtab.jobs import FileTarget
from trimtab.language_model import LanguageModel
from trimtab.rewards.retokenized import RetokenizedReward


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def test_usable_lines_are_continued_and_the_others_named(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    seen = []
    faults = run_job(lm, source, target, progress=lambda done, total: seen.append((done, total)))
    rows = json_rows(target)
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
    run_job(lm, source, whole)
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("".join(line + "\n" for line in lines[:keep]) + torn, encoding="utf-8")
    run_job(lm, source, target)
    for found, expected in zip(json_rows(target), json_rows(whole), strict=True):
        for name, rewards in expected.pop("rewards").items():  # other batches round their last digits differently
            assert found["rewards"][name] == pytest.approx(rewards, rel=1e-5, abs=1e-5)
        assert {name: value for name, value in found.items() if name != "rewards"} == expected
    before = target.read_bytes()
    run_job(lm, source, target)
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
    run_job(lm, source, target)
    before = target.read_bytes()
    other = jobs.Job(**{**vars(JOB), **change})
    with pytest.raises(errors.InvalidData, match="other settings"):
        run_job(lm, source, target, job=other)
    assert target.read_bytes() == before


def test_a_text_that_a_reward_cannot_read_is_a_fault_of_its_line(tmp_path):
    """A word is one token of the language model, and four bytes of the reward: both read 64 tokens."""
    reward = RetokenizedReward(tiny_reward(byte_lm("gpt2", []), "v"), tiny_lm("llama"))
    lm = LanguageModel(TorchEngine(reward.lm))
    texts = ["w1", " ".join(["w11"] * 16), "w2", "w3"]
    source, target = write_lines(tmp_path / "in.jsonl", [{"prompt": text} for text in texts]), tmp_path / "out.jsonl"
    seen = []
    (fault,) = run_job(lm, source, target, reward=reward, progress=lambda done, total: seen.append((done, total)))
    assert fault.startswith("line 2: the reward 'tiny-v' cannot read the text so far")
    assert seen == [(0, 4), (2, 4), (4, 4)]
    assert [row["line"] for row in json_rows(target)] == [1, 1, 3, 3, 4, 4]
    before = target.read_bytes()
    assert run_job(lm, source, target, reward=reward) == [fault]
    assert target.read_bytes() == before


def test_a_file_without_usable_prompts_is_refused(lm, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(errors.InvalidData, match="no usable prompt"):
        run_job(lm, empty, tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidData, match="no such file"):
        run_job(lm, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidSetting, match="batch_size"):
        run_job(lm, empty, tmp_path / "out.jsonl", batch_size=0)


def test_a_target_that_answers_other_prompts_is_refused(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    source.write_text(source.read_text(encoding="utf-8").replace("w5", "w15"), encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="other prompts"):
        run_job(lm, source, target)


def test_files_that_cannot_be_used_are_named(lm, source, tmp_path):
    with pytest.raises(errors.InvalidData, match=r"plain \.jsonl"):
        run_job(lm, source, tmp_path / "out.jsonl.gz")
    for content in (b"junk", gzip.compress(b'{"prompt": "w1"}' * 100)[:-20]):
        damaged = tmp_path / "in.jsonl.gz"
        damaged.write_bytes(content)
        with pytest.raises(errors.InvalidData, match="gzip"):
            run_job(lm, damaged, tmp_path / "out.jsonl")


@pytest.fixture(scope="module")
def chat():
    return LanguageModel(TorchEngine(chat_lm()))


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
        FileTarget(target),
        lambda batch: jobs.write_prompts(chat, batch, None, job),
        job,
        2,
    )
    assert [fault.split(":")[0] for fault in faults] == ["line 2", "line 3"]
    options = {"top_k": 5, "max_new_tokens": 4, "seed": 3}
    expected = [chat.chat(rows[0]["messages"], **options), chat.chat(rows[3]["messages"], **options)]
    found = json_rows(target)
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

    def run_once():
        jobs.run_file(
            chat, source, FileTarget(target), lambda batch: jobs.write_prompts(chat, batch, None, job), job, 1
        )

    run_once()
    whole = target.read_bytes()
    answer = chat.chat(messages, top_k=5, max_new_tokens=4, seed=3)
    assert (json_rows(target)[0]["text"], json_rows(target)[0]["prompt"]) == (answer.text, "w1 w2")
    target.write_bytes(whole[: whole.index(b"\n") + 20])
    run_once()
    assert target.read_bytes() == whole


def test_conversations_without_a_chat_template_stop_the_job_before_anything_is_written(lm, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [{"messages": CONVERSATION}])
    with pytest.raises(errors.InvalidSetting, match="no chat template"):
        run_job(lm, source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
