import gzip
import json

import pytest

from tiny import tiny_reward
from trimtab import errors, jobs
from trimtab.engines.settings import Sampling
from trimtab.lm import LanguageModel

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
JOB = jobs.Job(model="tiny", steer=("x=+2",), sampling=Sampling(top_k=5), max_new_tokens=4, n=2, seed=3)


@pytest.fixture(scope="module")
def lm(llama):
    return LanguageModel(llama)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def run(lm, source, target, job=JOB, batch_size=2, **options):
    steer = tiny_reward(lm.frozen, "q").toward(2.0)
    return jobs.run_file(
        lm, source, target, lambda batch: jobs.write_prompts(lm, batch, steer, job), job, batch_size, **options
    )


def test_good_lines_are_written_and_bad_ones_named(lm, source, tmp_path):
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
def test_a_killed_run_goes_on_to_the_same_result(lm, source, tmp_path, keep, torn):
    whole = tmp_path / "whole.jsonl"
    run(lm, source, whole)
    target = tmp_path / "out.jsonl"
    run(lm, source, target)
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("".join(line + "\n" for line in lines[:keep]) + torn, encoding="utf-8")
    run(lm, source, target)
    for found, expected in zip(rows_of(target), rows_of(whole), strict=True):
        for name, rewards in expected.pop("rewards").items():  # other batches round their last digits otherwise
            assert found["rewards"][name] == pytest.approx(rewards, abs=1e-5)
        assert {name: value for name, value in found.items() if name != "rewards"} == expected
    before = target.read_bytes()
    run(lm, source, target)
    assert target.read_bytes() == before


@pytest.mark.parametrize("change", [{"seed": 4}, {"method": "rad"}, {"n": 1}, {"steer": ()}])
def test_rows_of_other_settings_are_never_mixed(lm, source, tmp_path, change):
    target = tmp_path / "out.jsonl"
    run(lm, source, target)
    before = target.read_bytes()
    other = jobs.Job(**{**vars(JOB), **change})
    with pytest.raises(errors.InvalidData, match="other settings"):
        run(lm, source, target, job=other)
    assert target.read_bytes() == before


def test_nothing_to_do_is_an_error(lm, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(errors.InvalidData, match="no usable prompt"):
        run(lm, empty, tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidData, match="no such file"):
        run(lm, tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(errors.InvalidSetting, match="batch_size"):
        run(lm, empty, tmp_path / "out.jsonl", batch_size=0)


def test_answers_to_other_prompts_are_never_kept(lm, source, tmp_path):
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


def test_a_prompt_that_is_not_text_is_one_fault_among_others(lm, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1 \\ud800"}\n{"prompt": "w2"}\n', encoding="utf-8")
    faults = run(lm, source, tmp_path / "out.jsonl")
    assert len(faults) == 1
    assert "UTF-8" in faults[0]
