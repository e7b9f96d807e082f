"""What an actor of a job does, without Ray."""

from dataclasses import replace
from functools import partial

import pytest

from tiny import save_lm, tiny_lm, tiny_reward
from tiny_job import JOB
from trimtab import errors
from trimtab.cluster.ray_map import RayWorker, json_table, read_answers
from trimtab.data.json_text import dump_json, parse_json
from trimtab.jobs import Job, number_prompts, write_prompts
from trimtab.jobs.batch_writer import BatchWriter, batch_work, read_written
from trimtab.jobs.shard_file import Batch
from trimtab.loading import load
from trimtab.rewards.registry import load_steers

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'trimtab[data]'")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job whose model and reward are in folders."""
    folder = tmp_path_factory.mktemp("ray")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
    tiny_reward(lm, "q").save_pretrained(folder / "reward")
    return Job(model=str(folder / "lm"), steer=(f"{folder / 'reward'}=+2",), sampling=JOB.sampling)


@pytest.fixture(scope="module")
def actor(job):
    return worker(job)


def worker(job):
    return RayWorker(partial(BatchWriter, job))


def answers(actor, texts, shard=3):
    batch = Batch(shard, number_prompts(texts, chat=False, system=None))
    return [read_written(answer) for answer in read_answers(actor(json_table([batch_work(batch)])))]


def test_rows_come_back_as_they_were_written(actor, job):
    (written,) = answers(actor, ["w1 w2", "w3 \u2028"])
    lm = load(job.model)
    steer = load_steers(job.steer, None, lm.base)
    expected = write_prompts(lm, number_prompts(["w1 w2", "w3 \u2028"], False, None), steer, job)
    assert written.shard == 3
    assert written.faults == {}
    assert list(written.rows) == parse_json(dump_json(expected))
    assert written.about["steer"][0]["fingerprint"] == expected[0]["provenance"]["steer"][0]["fingerprint"]


def test_a_prompt_that_fills_the_context_is_a_fault(actor):
    (written,) = answers(actor, ["w1", " ".join(["w1"] * 64), "w2"])
    assert {row["line"] for row in written.rows} == {1, 3}
    assert list(written.faults) == [2]
    assert "a prompt of 64 tokens" in written.faults[2]


def test_a_prompt_that_cannot_be_continued_is_a_fault_of_its_line(actor, monkeypatch):
    def write(lm, prompts, steer, job):
        if any(each.line == 2 for each in prompts):
            raise errors.InvalidPrompt("no room behind w3")
        return write_prompts(lm, prompts, steer, job)

    monkeypatch.setattr("trimtab.jobs.batch_writer.write_prompts", write)
    (written,) = answers(actor, ["w1", "w3", "w2"])
    assert {row["line"] for row in written.rows} == {1, 3}
    assert written.faults == {2: "no room behind w3"}


def test_a_batch_of_faults_alone_has_no_rows(actor):
    (written,) = answers(actor, [" ".join(["w1"] * 64)])
    assert list(written.rows) == []
    assert list(written.faults) == [1]


def test_an_error_of_ours_arrives_as_itself(job, tmp_path):
    with pytest.raises(errors.ModelNotFound, match="nowhere"):
        answers(worker(replace(job, model=str(tmp_path / "nowhere"))), ["w1"])
    with pytest.raises(errors.RewardNotFound):
        answers(worker(replace(job, steer=(f"{tmp_path / 'nowhere'}=+2",))), ["w1"])


def test_short_memory_arrives_as_itself(job, monkeypatch):
    def full(*args):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("trimtab.jobs.batch_writer.write_prompts", full)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        answers(worker(job), ["w1"])


def test_a_bug_stays_a_bug(job, monkeypatch):
    monkeypatch.setattr("trimtab.jobs.batch_writer.write_prompts", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answers(worker(job), ["w1"])
