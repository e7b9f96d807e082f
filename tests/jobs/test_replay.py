import copy
import json
from dataclasses import replace

import pytest

from tiny import tiny_lm, tiny_reward
from tiny_job import JOB, LINES, json_rows, rewind_job, run_job, write_lines
from trimtab import jobs
from trimtab.data.jsonlines import read_lines
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


def test_records_of_older_versions_without_the_newer_hashes_are_replayed(lm, written):
    rows = json_rows(written)
    for row in rows:
        for name in ("config_fingerprint", "tokenizer_fingerprint", "chat_template_fingerprint"):
            del row["provenance"][name]
        for term in row["provenance"]["steer"]:
            del term["base"], term["base_weights_fingerprint"]
    found = replay_rows(list(read_lines(write_lines(written, rows))), loader(lm))
    assert [result.fault for result in found] == [None] * len(rows)


def test_a_missing_steer_is_refused(lm, written):
    found = replay_rows(list(read_lines(written)), lambda job: (lm, None, None))
    assert all("other weights: fingerprint None" in result.fault for result in found)


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


def test_searches_are_searched_again(lm, tmp_path):
    job = rewind_job()
    prompt = jobs.NumberedPrompt(1, "w1 w2", {"prompt": "w1 w2"})

    def shortness(prompt, text):
        return 1 / (1 + len(text))

    (result,) = jobs.search_prompts(lm, [prompt], shortness, None, job)
    path = write_lines(tmp_path / "out.jsonl", [jobs.describe_search(prompt, result, job)])
    (same,) = replay_rows(list(read_lines(path)), lambda job: (lm, None, shortness))
    assert same.fault is None
    (other,) = replay_rows(list(read_lines(path)), lambda job: (lm, None, lambda prompt, text: len(text) / 99))
    assert "the judge is another one" in other.fault


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
