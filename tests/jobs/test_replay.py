import copy
import json
import re
from dataclasses import replace

import pytest

from draft_heads import tiny_draft
from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm
from tiny_job import JOB, LINES, json_rows, rewind_job, run_job, write_lines
from trimtab import jobs
from trimtab.data.jsonlines import Line, read_lines
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.jobs.replay import replay_rows
from trimtab.language_model import LanguageModel
from trimtab.steering.steer import Steer


@pytest.fixture
def written(lm, tmp_path):
    """A file of 4 prompts with 2 samples each."""
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    return target


def loader(lm, seed=0):
    """Load the model and the steer of `run_job`, whatever the job names."""
    return lambda job: (lm, tiny_reward(lm.base, "q", seed=seed).toward(2.0), None)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_every_text_is_written_again_in_any_batch(lm, written, batch_size):
    seen = []
    found = replay_rows(list(read_lines(written)), loader(lm), batch_size, lambda *done: seen.append(done))
    assert [(result.number, result.fault) for result in found] == [(number, None) for number in range(1, 9)]
    assert seen[-1] == (8, 8)


def test_rows_that_were_drafted_are_written_again_token_by_token(lm, tmp_path, eager):
    """The model at hand has no draft head."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    drafting = LanguageModel(TorchEngine(lm.base, proposers={"draft": HeadProposer(tiny_draft(lm.base), lm.base)}))
    job = replace(JOB, sampling=replace(JOB.sampling, speculate="draft", max_new_tokens=9))
    run_job(drafting, source, target, job)
    rows = json_rows(target)
    assert sum(row["usage"]["drafted"] for row in rows) > 0
    assert all(row["usage"]["tokens"] == len(row["token_ids"]) for row in rows)
    found = replay_rows(list(read_lines(target)), loader(lm))
    assert [result.fault for result in found] == [None] * len(rows)


def test_a_changed_text_is_named_with_the_token(lm, written):
    rows = json_rows(written)
    rows[2]["token_ids"][1] += 1
    rows[5]["token_ids"].pop()
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert [(result.number, result.place) for result in found if result.fault] == [
        (3, 1),
        (6, len(rows[5]["token_ids"])),
    ]


def test_other_weights_of_a_reward_are_refused(lm, written):
    found = replay_rows(list(read_lines(written)), loader(lm, seed=1))
    assert all("the reward 'tiny-q' has other weights: fingerprint" in result.fault for result in found)


def test_other_weights_of_the_model_are_refused(written):
    other = LanguageModel(TorchEngine(tiny_lm("llama", seed=9)))
    found = replay_rows(list(read_lines(written)), loader(other))
    assert all("has other weights: base_fingerprint" in result.fault for result in found)


def test_one_changed_weight_in_any_layer_is_noticed(written):
    """Also one that the fingerprint of the cards does not sample, because it is in the middle of the model."""
    changed = tiny_lm("llama")
    changed.model.model.layers[0].mlp.up_proj.weight.data[3, 5] += 1e-3
    lm = LanguageModel(TorchEngine(changed))
    found = replay_rows(list(read_lines(written)), loader(lm))
    assert all("has other weights: weights_fingerprint" in result.fault for result in found)


def test_another_architecture_with_the_same_weights_is_refused(written):
    changed = tiny_lm("llama")
    changed.model.config = copy.deepcopy(changed.model.config)
    changed.model.config.rms_norm_eps = 5.0
    found = replay_rows(list(read_lines(written)), loader(LanguageModel(TorchEngine(changed))))
    assert all("is another one: config_fingerprint" in result.fault for result in found)


def test_a_missing_steer_is_refused(lm, written):
    found = replay_rows(list(read_lines(written)), lambda job: (lm, None, None))
    assert all("the reward 'tiny-q' steers in the row only" in result.fault for result in found)


def test_a_row_that_does_not_say_its_weights_is_refused(lm, written):
    rows = json_rows(written)
    for row in rows:
        del row["provenance"]["weights_fingerprint"]
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert all("the row does not say" in result.fault for result in found)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": "w1"}, "without provenance"),
        ({"provenance": {}}, "has no job"),
        ({"provenance": {"job": {"kind": "x"}}}, "kind 'x'"),
    ],
)
def test_a_row_that_cannot_be_written_again_is_named(lm, written, row, fault):
    lines = written.read_text(encoding="utf-8")
    written.write_text(f"{json.dumps(row)}\n{{broken\n{lines}", encoding="utf-8")
    found = replay_rows(list(read_lines(written)), loader(lm))
    assert fault in found[0].fault
    assert "not JSON" in found[1].fault
    assert [result.fault for result in found[2:]] == [None] * 8


@pytest.mark.parametrize(
    "change", [{"token_ids": "x"}, {"sample": 7}, {"sample": "0"}, {"prompt": ""}, {"prompt": None}]
)
def test_a_row_with_a_damaged_field_is_named_and_the_others_are_compared(lm, written, change):
    rows = json_rows(written)
    rows[0] |= change
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm), batch_size=1)
    assert found[0].fault
    assert [result.fault for result in found[1:]] == [None] * 7


def test_one_bad_row_does_not_condemn_its_batch(lm, written):
    """Neither one without a prompt, nor one whose prompt cannot be written."""
    rows = json_rows(written)
    rows[0]["prompt"], rows[4]["prompt"] = None, "w1 " * 500
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert [result.number for result in found if result.fault] == [1, 5]


def test_each_prompt_is_written_once_with_all_its_samples(lm, written, monkeypatch):
    asked, generate = [], LanguageModel.generate

    def spy(self, prompts, *more):
        asked.append(list(prompts))
        return generate(self, prompts, *more)

    monkeypatch.setattr(LanguageModel, "generate", spy)
    assert all(result.fault is None for result in replay_rows(list(read_lines(written)), loader(lm), batch_size=4))
    assert [len(prompts) for prompts in asked] == [2, 2], "4 texts at once: 2 prompts with 2 samples each"
    assert len({prompt for prompts in asked for prompt in prompts}) == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda row: row["rewards"].update(zip(row["rewards"], reversed(row["rewards"].values()), strict=True)),
            "rewards",
        ),
        (lambda row: row.update(rewards={f"x:{n}": of for n, of in enumerate(row["rewards"].values())}), "rewards"),
        (lambda row: [row.pop(name) for name in ("rewards", "text", "tokens")], "lacks text, tokens, rewards"),
        (lambda row: row.update(trace=[{"text": "forged", "rewards": {}}]), "trace"),
        (lambda row: row["provenance"]["sampling"].update(top_k=6), "texts differ|sampling"),
        (lambda row: row["provenance"]["steer"][0].update(reward="kindness"), "rewards"),
        (lambda row: row["provenance"]["steer"][0].update(reward=7), "without a name"),
        (lambda row: row["provenance"].update(model="gpt-9"), "model"),
        (lambda row: row["provenance"].pop("device"), "no device"),
        (lambda row: row["provenance"].update(dtype=[]), "dtype"),
        (lambda row: row["provenance"]["job"].update(kind=[]), r"kind \[\]"),
        (lambda row: row["provenance"]["sampling"].update(stop=5), "stop"),
        (lambda row: row["provenance"]["sampling"].pop("seed"), "without a seed"),
        (lambda row: row["provenance"].pop("sampling"), "without a seed"),
        (lambda row: row["provenance"].update(steer=7), "no list of rewards"),
        (lambda row: row.update(token_ids=[]), "from token 1 on"),
    ],
)
def test_forged_rows_are_named(lm, written, change, named):
    rows = json_rows(written)
    change(rows[3])
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert re.search(named, found[3].fault)
    assert [result.number for result in found if result.fault] == [4]


def test_a_reward_may_have_another_name_where_the_row_uses_it_throughout(lm, written):
    rows = json_rows(written)
    for row in rows:
        row["provenance"]["steer"][0] |= {"reward": "renamed", "source": "elsewhere/renamed"}
        row["rewards"] = {name.replace("tiny-q", "renamed"): of for name, of in row["rewards"].items()}
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert [result.fault for result in found] == [None] * 8


def test_a_trace_is_compared(lm, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "w1 w2"}])
    run_job(lm, source, tmp_path / "out.jsonl", job=replace(JOB, trace=True))
    rows = json_rows(tmp_path / "out.jsonl")
    assert rows[0]["provenance"]["job"]["trace"]
    path = write_lines(tmp_path / "again.jsonl", rows)
    assert [result.fault for result in replay_rows(list(read_lines(path)), loader(lm))] == [None, None]
    rows[0]["trace"][1]["candidates"][0]["rewards"]["tiny-q:kind"] += 0.2
    del rows[1]["trace"]
    found = replay_rows(list(read_lines(write_lines(path, rows))), loader(lm))
    assert [result.fault.rpartition(" ")[2] for result in found] == ["trace", "trace"]


def test_searches_are_searched_again(lm, tmp_path):
    job = rewind_job()
    prompt = jobs.NumberedPrompt(1, "w1 w2", {"prompt": "w1 w2"})

    def shortness(prompt, text):
        return 1 / (1 + len(text))

    (result,) = jobs.search_prompts(lm, [prompt], shortness, None, job)
    path = write_lines(tmp_path / "out.jsonl", [jobs.describe_search(prompt, result, job)])
    (same,) = replay_rows(list(read_lines(path)), lambda job: (lm, None, shortness))
    assert same.fault is None
    for change in ({"commits": []}, {"iterations": 999}, {"taken_back": 9}):
        (forged,) = replay_rows([Line(1, json_rows(path)[0] | change, None)], lambda job: (lm, None, shortness))
        assert forged.fault.endswith(f"the row's {next(iter(change))}")
    (other,) = replay_rows(list(read_lines(path)), lambda job: (lm, None, lambda prompt, text: len(text) / 99))
    assert "the judge is another one" in other.fault


def test_searches_of_conversations_are_searched_again(tmp_path):
    lm, messages = LanguageModel(TorchEngine(chat_lm())), [{"role": "user", "content": "w1 w2"}]
    prompt = jobs.NumberedPrompt(1, messages, {"messages": messages})

    def shortness(prompt, text):
        return 1 / (1 + len(text))

    job = rewind_job()
    (result,) = jobs.search_prompts(lm, [prompt], shortness, None, job)
    row = jobs.describe_search(prompt, result, job)
    assert "prompt" not in row
    path = write_lines(tmp_path / "out.jsonl", [row])
    (same,) = replay_rows(list(read_lines(path)), lambda job: (lm, None, shortness))
    assert same.fault is None


def test_rows_of_one_provenance_load_their_model_once(lm, written, tmp_path):
    calls = []

    def load(job) -> tuple[LanguageModel, Steer | None, None]:
        calls.append(job.sampling.seed)
        return loader(lm)(job)

    other = replace(JOB, sampling=replace(JOB.sampling, seed=9))
    run_job(lm, write_lines(tmp_path / "more.jsonl", [{"prompt": "w1"}]), tmp_path / "two.jsonl", job=other)
    rows = json_rows(tmp_path / "two.jsonl")
    both = write_lines(tmp_path / "both.jsonl", [rows[0], *json_rows(written), rows[1]])
    assert all(result.fault is None for result in replay_rows(list(read_lines(both)), load))
    assert sorted(calls) == [3, 9]


def test_a_reward_with_another_range_is_refused(lm, written):
    """The card's clamp is part of how a reward steers."""
    rows = json_rows(written)
    for row in rows:
        row["provenance"]["steer"][0]["clamp"] = [0.0, 0.5]
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert all("steers differently (clamp[1]: 0.5 there, 1.0 here" in result.fault for result in found)
