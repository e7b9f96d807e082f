"""Tests of jobs on Ray. They run where Ray is installed: `make test-ray`.

The cluster is two raylets on this machine, with one CPU each, so that each of two actors has a "machine" of its own.
"""

import json
import os
from importlib.util import find_spec

import pytest

from ray_processes import BATCH, PROMPTS, SHARDS, rows_of
from tiny import save_lm, tiny_lm, tiny_reward
from trimtab.engines.sampling_params import SamplingParams
from trimtab.jobs import FileTarget, Job, run_file, write_prompts
from trimtab.loading import load
from trimtab.rewards.registry import load_steers

FOREIGN = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::ResourceWarning")
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def pytest_collection_modifyitems(items):
    """Skip the tests where Ray is not installed; its own warnings are not ours to mend."""
    marks = [pytest.mark.slow, *map(pytest.mark.filterwarnings, FOREIGN)]
    if find_spec("ray") is None:
        marks.append(pytest.mark.skip(reason="Ray is not installed here; make test-ray installs it"))
    for item in items:
        if "/tests/with_ray/" in str(item.path):
            for mark in marks:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with a language model, a reward, and shards of prompts; the last line of one is broken."""
    folder = tmp_path_factory.mktemp("ray")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
    tiny_reward(lm, "q").save_pretrained(folder / "reward")
    (folder / "in").mkdir()
    for shard in range(SHARDS):
        lines = [json.dumps({"prompt": f"w{shard} w{number}"}) for number in range(PROMPTS)]
        text = "\n".join([*lines, "broken"] if shard == 1 else lines)
        (folder / "in" / f"part-{shard}.jsonl").write_text(text + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def job(place):
    """A job that takes some tenths of a second per batch."""
    sampling = SamplingParams(n=24, top_k=5, max_new_tokens=56, seed=3)
    return Job(model=str(place / "lm"), steer=(f"{place / 'reward'}:kind=+2",), sampling=sampling)


@pytest.fixture(scope="session")
def expected(place, job):
    """The rows of each shard that a run without Ray writes."""
    lm = load(job.model)
    steer = load_steers(job.steer, None, lm.base)
    for source in sorted((place / "in").iterdir()):
        target = FileTarget(place / "expected" / source.name)
        run_file(lm, source, target, lambda batch: write_prompts(lm, batch, steer, job), job, BATCH)
    return rows_of(place / "expected")


@pytest.fixture
def cluster():
    """A cluster of two raylets; the second one is `cluster.second`."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    config = {"worker_niceness": 0}  # actors also get their share where other work runs
    found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": config})
    found.second = found.add_node(**NODE)
    yield found
    found.shutdown()
