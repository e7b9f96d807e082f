"""A comparison whose texts a cluster of two raylets writes: the same files as without Ray."""

import json
import os
import subprocess
import sys
import time

import pytest

from ray_processes import actors_of, kill

SOME = 40  # prompts


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "some.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"w{number} w2"}) + "\n" for number in range(SOME)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def command(place, prompts):
    """Return a function that starts the comparison into a folder."""

    def start(out, *more):
        words = [sys.executable, "-m", "trimtab", "evaluate", "prompts", "--up", prompts, "--model", place / "lm"]
        words += ["--reward", place / "reward", "--beta", 2, "--beta", 5, "--judge", "vader", "--rounds", 0]
        words += ["--samples", 24, "--max-new-tokens", 40, "--top-k", 5, "--batch-size", 2, "--out", out, *more]
        log = (out.parent / f"{out.name}.log").open("w")
        return subprocess.Popen(
            list(map(str, words)), stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )

    return start


@pytest.fixture(scope="module")
def expected(command, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "expected"
    assert command(out).wait() == 0, (out.parent / "expected.log").read_text()
    return texts_of(out)


def texts_of(out):
    """The texts of each row, without figures whose last digits depend on the machine."""
    rows = {path.name: path.read_text(encoding="utf-8").splitlines()[1:] for path in sorted(out.glob("*.jsonl"))}
    names = ("place", "sample", "prompt", "text", "token_ids", "finish_reason")
    return {name: [{each: json.loads(line)[each] for each in names} for line in lines] for name, lines in rows.items()}


def test_two_machines_write_the_rows_of_one_process_though_an_actor_is_killed(command, cluster, expected, tmp_path):
    driver, killed, seen = command(tmp_path / "out", "--ray", cluster.address, "--actors", 2), False, set()
    while driver.poll() is None:
        at = {node for node in (cluster.head_node, cluster.second) if actors_of(node)}
        seen |= at
        started = any((tmp_path / "out").glob("*.jsonl"))
        if not killed and started and cluster.second in at:
            killed = True
            kill(actors_of(cluster.second)[0])
        time.sleep(0.05)
    assert driver.returncode == 0, (tmp_path / "out.log").read_text()
    assert killed
    assert len(seen) == 2
    assert texts_of(tmp_path / "out") == expected


def test_a_driver_that_is_killed_resumes(command, cluster, expected, tmp_path):
    driver = command(tmp_path / "out", "--ray", cluster.address, "--actors", 2)
    while driver.poll() is None and sum(map(len, texts_of(tmp_path / "out").values())) < SOME:
        time.sleep(0.05)
    kill(driver.pid)
    driver.wait()
    before = sum(map(len, texts_of(tmp_path / "out").values()))
    assert 0 < before < sum(map(len, expected.values())), (tmp_path / "out.log").read_text()
    again = command(tmp_path / "out", "--ray", cluster.address, "--actors", 2)
    assert again.wait() == 0, (tmp_path / "out.log").read_text()
    assert texts_of(tmp_path / "out") == expected
