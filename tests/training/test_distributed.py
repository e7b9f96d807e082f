"""Two processes on this machine train as one does: the same losses and weights, within float tolerance."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.long
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from good_words import good_words, quick
from tiny import tiny_lm
from trimtab.training.distil import train_from_teacher
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings
from trimtab.training.run_folder import RunFolder

out = Path(sys.argv[1])
lm, rows, held_out = tiny_lm("llama"), good_words(80), good_words(20, seed=1)
settings = dict(epochs=1, regulariser=0.0, checkpoints=2)
first, second = (RunOptions(RunFolder(out / head)) for head in "vq")
teacher = train_from_labels(lm, ["good"], rows, held_out, quick(head="v", **settings), options=first)
settings_of_targets = DistilSettings("candidates", 4)
train_from_teacher(lm, teacher, rows, held_out, quick(**settings), settings_of_targets, second, out / "targets")
"""


def run(out, processes):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]))
    started = []
    for rank in range(processes):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
        several = {**world, "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"} if processes > 1 else {}
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in several.items()}}
        started.append(subprocess.Popen([sys.executable, "-c", code, str(out)], env=environment))
    assert [process.wait(timeout=300) for process in started] == [0] * processes


def losses(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().split("\n") if line]
    return [row.get("loss", row.get("eval_loss")) for row in rows]


@pytest.mark.parametrize("head", ["v", "q"])
def test_two_processes_equal_one(head, trained):
    alone, together = trained
    assert losses(together / head) == pytest.approx(losses(alone / head), rel=2e-3)
    expected, found = load_file(alone / head / "final.safetensors"), load_file(together / head / "final.safetensors")
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, atol=2e-3), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    run(alone, 1)
    run(together, 2)
    return alone, together
