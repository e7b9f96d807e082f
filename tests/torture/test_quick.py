"""A sample of the torture for `make test`; `make torture` runs all of it."""

import random

import pytest

from torture.call_world import calls
from torture.calls import run_named
from torture.case import Case
from torture.cli_cases import Result, all_cases, prepare_world, run_cases
from torture.client import Ended, servers
from torture.full_disk import TMPFS_LABEL, limit_files
from torture.kills import KILLED, run_kills
from torture.run import skipped, too_few
from torture.verdict import faults_of, late_faults, snapshot

CASES, CALLS, SEED = 60, 80, 5


@pytest.fixture(scope="module")
def server():
    with servers(1) as (one,):
        yield one


@pytest.fixture(scope="module")
def world(server, tmp_path_factory):
    return prepare_world(tmp_path_factory.mktemp("world"), server)


def faults(results):
    return {each.name: each.faults for each in results if each.faults}


def test_malformed_command_lines_are_refused(server, world):
    forked = [(table, case) for table, case in all_cases() if not case.env]
    assert faults(run_cases(random.Random(SEED).sample(forked, CASES), world, [server])) == {}


def test_malformed_calls_are_refused(server, world):
    chosen = random.Random(SEED).sample(sorted(calls()), CALLS)
    assert faults(run_named(world, [server], chosen)) == {}


def test_killed_runs_end_with_the_same_files(server, world):
    results = run_kills(world, [server], "generate", (1, 2))
    assert faults(results) == {}
    assert any("died=True" in each.name for each in results)


def test_runs_on_a_full_disk_end_with_the_same_files(server, world, tmp_path):
    results = limit_files(server, world, tmp_path, "generate", sizes=1)
    assert faults(results) == {}
    assert all("stopped=True" in each.name for each in results)


@pytest.mark.parametrize(
    ("case", "ended", "kind"),
    [
        (Case(("x",)), Ended(0, False, 1.0, "fine\n", ""), "silent acceptance"),
        (Case(("x",)), Ended(1, False, 1.0, "", "Traceback (most recent call last)\nKeyError: 1\n"), "traceback"),
        (Case(("x",)), Ended(1, False, 1.0, "", ""), "no message"),
        (Case(("x",)), Ended(1, False, 1.0, "", "trimtab: one\ntwo\n"), "long message"),
        (Case(("x",)), Ended(1, False, 1.0, "", "trimtab: \x1b[31m\n"), "escape code"),
        (Case(("x",)), Ended(-11, False, 1.0, "", ""), "signal"),
        (Case(("x",)), Ended(-9, True, 1.0, "", ""), "hang"),
        (Case(("x",), "fine"), Ended(1, False, 1.0, "", "trimtab: no\n"), "needless refusal"),
        (Case(("x",), "fine"), Ended(0, False, 1.0, '{"a": NaN}\n', ""), "bad JSON"),
        (Case(("x",), "fine"), Ended(0, False, 1.0, "", "UserWarning: odd\n"), "warning"),
    ],
)
def test_each_kind_of_fault_is_seen(case, ended, kind, tmp_path):
    assert [fault.partition(":")[0] for fault in faults_of(case, ended, tmp_path, snapshot(tmp_path))] == [kind]


def test_a_refusal_that_reads_weights_first_is_a_fault_without_a_reason():
    late = Ended(1, False, 1.0, "", "trimtab: no\n", loads=1)
    assert [fault.partition(":")[0] for fault in late_faults(Case(("x",)), late)] == ["late refusal"]
    assert late_faults(Case(("x",), loads="they are compared"), late) == []
    assert late_faults(Case(("x",), "fine"), late) == []


@pytest.mark.parametrize(("part", "count"), [("cli", 300), ("calls", 200), ("kills", 40)])
def test_a_part_that_ran_too_little_is_a_fault(part, count):
    done = Result(f"generate: kill_after=1{KILLED}", part, None, Ended(0, False, 1.0, "", ""), [])
    survived = Result("generate: kill_after=1, died=False", part, None, Ended(0, False, 1.0, "", ""), [])
    assert too_few(part, [done] * count) == ""
    assert f"expected at least {count}" in too_few(part, [done] * (count - 1))
    assert bool(too_few(part, [survived] * count)) == (part == "kills")


def test_a_small_tmpfs_that_was_skipped_is_told():
    disk = Result("generate: files of at most 2000 bytes", "disk", None, Ended(0, False, 1.0, "", ""), [])
    small = Result(f"generate: 7 {TMPFS_LABEL}, stopped=True", "disk", None, Ended(0, False, 1.0, "", ""), [])
    assert "small tmpfs was skipped" in skipped({"disk": [disk]})[0]
    assert skipped({"disk": [disk, small]}) == skipped({"cli": []}) == []


def test_changed_and_left_files_are_seen(tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    before = snapshot(tmp_path)
    (tmp_path / "notes.txt").write_text("gone")
    (tmp_path / ".out-x7").write_text("half")
    (tmp_path / "new.jsonl").write_text('{"a": NaN}\n')
    found = faults_of(Case(("x",)), Ended(1, False, 1.0, "", "trimtab: no\n"), tmp_path, before)
    assert [fault.partition(":")[0] for fault in found] == ["file changed", "file left behind", "bad JSON"]
