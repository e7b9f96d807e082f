"""vLLM in an actor of Ray: the rows are the torch engine's, also if the actor is killed while it writes."""

import json
import os
from functools import partial

import pytest

from ray_processes import ACTOR, children, kill, name_of, rows_of
from trimtab.engines.sampling_params import SamplingParams
from trimtab.jobs import FileTarget, Job, RayActors, run_file, run_on_ray, write_prompts
from trimtab.rewards.registry import load_steers

PROMPTS, BATCH = 8, 2
OPTIONS = {"enforce_eager": True, "max_model_len": 128, "max_num_seqs": 4}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [json.dumps({"prompt": f"On day {number} the new neighbours"}) for number in range(PROMPTS)]
    (folder / "part.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_an_actor_that_is_killed_loses_and_doubles_nothing(source, smollm2, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed here; make vllm-env installs it")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    sampling = SamplingParams(n=2, max_new_tokens=16, seed=3)
    plain = Job(model="smollm2", steer=("toxicity=-30",), sampling=sampling)
    steer = load_steers(plain.steer, None, smollm2.base)
    expected = FileTarget(tmp_path / "expected" / "part.jsonl")
    write = partial(write_prompts, smollm2, steer=steer, job=plain)
    run_file(smollm2, source / "part.jsonl", expected, write, plain, BATCH)
    killed = []

    def progress(done, total):
        actors = [pid for pid in children(os.getpid()) if name_of(pid).startswith(ACTOR)]
        if actors and not killed and 0 < done < total:
            killed.append(done)
            kill(actors[0])

    job = Job(model="smollm2", engine="vllm", steer=plain.steer, sampling=sampling)
    one = RayActors(actors=1)
    faults = run_on_ray(source, tmp_path / "out", job, "local", one, BATCH, progress, engine_options=OPTIONS)
    assert (faults, len(killed)) == ([], 1)
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "expected")
    (line, *_) = (tmp_path / "out" / "part.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["provenance"]["engine"] == "vllm"
