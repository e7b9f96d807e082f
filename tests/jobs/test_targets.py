import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tiny import tiny_reward
from tiny_job import JOB, json_rows, run_job, write_lines
from trimtab import errors
from trimtab.data.differences import differences
from trimtab.engines.provenance import MACHINE
from trimtab.jobs.targets import FileTarget, StreamTarget, drawn_seed, open_target, settings_path

PROMPTS = [{"prompt": "w1 w2"}, {"prompt": "w3"}]


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "in.jsonl", PROMPTS)


def test_a_resumed_file_never_mixes_two_rewards(lm, source, tmp_path):
    """The same name and settings, other weights: the first file stays as it is."""
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target, reward=tiny_reward(lm.base, "q", seed=0))
    target.write_text(target.read_text(encoding="utf-8").split("\n")[0] + "\n", encoding="utf-8")
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=r"other settings \(steer\[0\]\.fingerprint: "):
        run_job(lm, source, target, reward=tiny_reward(lm.base, "q", seed=1))
    assert target.read_bytes() == before


def test_the_message_names_the_setting_that_differs(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    other = replace(JOB, sampling=replace(JOB.sampling, seed=4))
    with pytest.raises(errors.InvalidData, match=r"\(job\.sampling\.seed: 3 there, 4 here\)"):
        run_job(lm, source, target, job=other)


def test_versions_and_device_alone_do_not_refuse_a_resume():
    there = {"trimtab": "0.1", "torch": "2.0", "device": "cuda:0", "base_fingerprint": "a"}
    assert differences(there, {**there, "trimtab": "0.2", "torch": "2.1", "device": "cpu"}, MACHINE) == ""
    assert differences(there, {**there, "base_fingerprint": "b"}, MACHINE) == "base_fingerprint: 'a' there, 'b' here"


HOLD = """
import sys
from trimtab.jobs.targets import FileTarget
from pathlib import Path
with FileTarget(Path(sys.argv[1])).claimed({"seed": 1}):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_on_one_file_is_refused(tmp_path):
    target = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", HOLD, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(errors.InvalidOutput, match="another process writes"),
            FileTarget(target).claimed({"seed": 1}),
        ):
            pass
        holder.stdin.write("\n")
        holder.stdin.close()
    with FileTarget(target).claimed({"seed": 1}):
        pass


def test_a_symbolic_link_is_followed_and_stays(lm, source, tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "real" / "texts.jsonl")
    run_job(lm, source, link)
    assert link.is_symlink()
    assert len(json_rows(tmp_path / "real" / "texts.jsonl")) == 4
    assert settings_path(tmp_path / "real" / "texts.jsonl").is_file()


@pytest.mark.parametrize("name", ["/dev/full", "folder", "in.jsonl", "in.jsonl/out.jsonl"])
def test_what_is_no_file_of_ours_is_refused_and_stays(source, tmp_path, name):
    (tmp_path / "folder").mkdir()
    before = source.read_bytes()
    with pytest.raises(errors.InvalidOutput, match=r"got --output .*, expected"):
        FileTarget(tmp_path / name, source)
    assert source.read_bytes() == before


def test_a_file_of_another_origin_is_refused_and_stays(tmp_path):
    target = write_lines(tmp_path / "notes.jsonl", [{"mine": 1}])
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=r"no notes\.jsonl\.settings\.json beside it"):
        FileTarget(target)
    assert target.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_pipe_receives_the_rows(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(errors.InvalidOutput, match="a pipe that something reads"), open_target(pipe):
        pass
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open_target(pipe) as target, target.claimed({}):
        assert target.finished(1, {1: {}}) == set()
        target.append([{"text": "\u2028 nan", "reward": float("nan")}])
    with open(reader, encoding="utf-8") as read:
        assert json.loads(read.read()) == {"text": "\u2028 nan", "reward": None}


def test_a_hyphen_is_standard_output(capsys):
    with open_target(Path("-")) as target:
        assert isinstance(target, StreamTarget)
        target.append([{"line": 1}])
    assert capsys.readouterr().out == '{"line": 1}\n'


def test_the_seed_of_an_interrupted_run_is_drawn_again(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    assert drawn_seed(target) == JOB.sampling.seed
    assert drawn_seed(tmp_path / "new.jsonl") != drawn_seed(tmp_path / "new.jsonl")
    settings_path(target).write_text('{"job": {}}', encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="cannot read"):
        drawn_seed(target)
