"""Jobs on a cluster of two raylets: the same rows as without Ray, whatever is killed."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from ray_processes import BATCH, PROMPTS, SHARDS, actors_of, kill, rows_of
from trimtab.errors import InvalidSetting, ModelNotFound
from trimtab.jobs import RayActors, run_on_ray

TOTAL = SHARDS * PROMPTS
TWO = RayActors(actors=2)


@pytest.fixture
def run(place, job, cluster, tmp_path):
    """Return a function that runs the job on the cluster; it returns the faults and the rows."""

    def run_job(progress=lambda done, total: None, actors=TWO):
        faults = run_on_ray(place / "in", tmp_path / "out", job, cluster.address, actors, BATCH, progress)
        return faults, rows_of(tmp_path / "out")

    return run_job


def test_two_machines_write_the_rows_of_one_process(run, expected, cluster):
    seen, working = [], []

    def progress(done, total):
        seen.append((done, total))
        working.append(bool(actors_of(cluster.head_node)) and bool(actors_of(cluster.second)))

    faults, rows = run(progress)
    assert rows == expected
    assert [fault.split(":")[:2] for fault in faults] == [["part-1.jsonl", f" line {PROMPTS + 1}"]]
    assert seen == [(done, TOTAL) for done in range(0, TOTAL + 1, BATCH)]
    assert any(working)


@pytest.mark.parametrize("what", ["machine", "actor"])
def test_what_is_killed_loses_and_doubles_nothing(run, expected, cluster, what):
    killed = []

    def progress(done, total):
        if killed or not 0 < done < total or not (victims := actors_of(cluster.second)):
            return
        killed.append(done)
        if what == "machine":
            cluster.remove_node(cluster.second, allow_graceful=False)
        else:
            kill(victims[0])

    _, rows = run(progress)
    assert killed
    assert rows == expected


def test_a_driver_that_is_killed_resumes(place, job, cluster, expected, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "trimtab", "generate", "--ray", cluster.address, "--actors", "2"]
    words += ["--input", place / "in" / "part-*.jsonl", "--output", out, "--batch-size", BATCH]
    words += ["--model", job.model, "--steer", job.steer[0], "--n", job.sampling.n, "--top-k", job.sampling.top_k]
    words += ["--max-new-tokens", job.sampling.max_new_tokens, "--seed", job.sampling.seed]
    command = list(map(str, words))
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        until = time.monotonic() + 120
        while driver.poll() is None and not any(out.glob("*.jsonl")) and time.monotonic() < until:
            time.sleep(0.05)
        kill(driver.pid)
        driver.wait()
    before = sum(len(rows) for rows in rows_of(out).values())
    assert 0 < before < TOTAL * job.sampling.n, (tmp_path / "log").read_text()
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 1
    assert f"1 line skipped, all others are in {out}: part-1.jsonl: line {PROMPTS + 1}: not JSON" in done.stderr
    assert rows_of(out) == expected


def test_an_actors_error_is_its_own_and_another_run_finishes(place, job, cluster, expected, tmp_path):
    lost = replace(job, model=str(place / "lm"), steer=(f"{place / 'nowhere'}=+2",))
    with pytest.raises(Exception, match="nowhere") as raised:
        run_on_ray(place / "in", tmp_path / "out", lost, cluster.address, TWO, BATCH)
    assert type(raised.value).__name__ == "RewardNotFound"
    with pytest.raises(InvalidSetting, match="--actor-gpus 4, expected no more than one machine"):
        run_on_ray(place / "in", tmp_path / "out", job, cluster.address, RayActors(actor_gpus=4))
    with pytest.raises(ModelNotFound):
        run_on_ray(place / "in", tmp_path / "out", replace(job, model=str(place / "no")), cluster.address)
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_a_process_stays_in_its_own_cluster(place, job, tmp_path):
    import ray
    from ray.data import DataContext

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        few = replace(job, sampling=replace(job.sampling, n=1, max_new_tokens=2, seed=None))
        run_on_ray(place / "in" / "part-0.jsonl", tmp_path / "out", few)
        assert ray.is_initialized()
        assert DataContext.get_current().enable_progress_bars
    finally:
        ray.shutdown()
    assert len(rows_of(tmp_path / "out")["part-0.jsonl"]) == PROMPTS
