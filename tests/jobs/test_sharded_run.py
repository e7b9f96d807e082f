from dataclasses import replace

import pytest

from tiny import tiny_reward
from tiny_job import JOB, LINES, json_rows, run_job, write_lines
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting, TrimtabError
from trimtab.jobs import FileTarget, write_prompts
from trimtab.jobs.shard_file import Written
from trimtab.jobs.sharded_run import run_shards
from trimtab.jobs.shards import find_shards
from trimtab.jobs.targets import settings_path

NAMES = ("a.jsonl", "b.jsonl")


class Killed(Exception):
    """The writer is gone."""


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_lines(folder / NAMES[0], [{"prompt": f"w{number}"} for number in range(5)])
    (folder / NAMES[1]).write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def expected(lm, source, tmp_path):
    """The rows that a run without shards writes, by the name of their file."""
    for name in NAMES:
        run_job(lm, source / name, tmp_path / "expected" / name)
    return {name: (tmp_path / "expected" / name).read_bytes() for name in NAMES}


def writer(lm, reward=None, order=lambda batches: batches, left=None):
    """Return a function that writes batches in another order, and is killed after some."""
    steer = (reward or tiny_reward(lm.base, "q")).toward(2.0)

    def write(batches):
        for number, batch in enumerate(order(batches)):
            if number == left:
                raise Killed
            rows = write_prompts(lm, batch.prompts, steer, JOB)
            yield Written(batch.shard, rows, {}, provenance(lm.engine, steer))

    return write


def run(lm, source, folder, write, job=JOB, batch_size=2, **options):
    shards = find_shards(source, folder, options.get("replace", False))
    return run_shards(shards, lm.engine.codec, job, write, batch_size, **options)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in NAMES}


def test_files_are_those_of_runs_without_shards(lm, source, expected, tmp_path):
    seen = []
    faults = run(lm, source, tmp_path / "out", writer(lm), progress=lambda *at: seen.append(at))
    assert contents(tmp_path / "out") == expected
    assert [fault.split(":")[:2] for fault in faults] == [["b.jsonl", f" line {line}"] for line in (2, 4, 5, 8)]
    assert seen == [(0, 9), (2, 9), (4, 9), (5, 9), (7, 9), (9, 9)]
    for name in NAMES:
        ours, theirs = settings_path(tmp_path / "out" / name), settings_path(tmp_path / "expected" / name)
        assert ours.read_bytes() == theirs.read_bytes()


def test_batches_that_come_back_twice_and_in_any_order_are_written_once(lm, source, expected, tmp_path):
    run(lm, source, tmp_path / "out", writer(lm, order=lambda batches: [*reversed(batches), *batches]))
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("left", [0, 1, 2, 4])
def test_a_killed_run_resumes(lm, source, expected, tmp_path, left):
    with pytest.raises(Killed):
        run(lm, source, tmp_path / "out", writer(lm, order=lambda batches: batches[::-1], left=left))
    written = []

    def write(batches):
        written.extend(prompt.line for batch in batches for prompt in batch.prompts)
        yield from writer(lm)(batches)

    run(lm, source, tmp_path / "out", write)
    assert len(written) == [9, 7, 5, 2][[0, 1, 2, 4].index(left)]
    for name, content in expected.items():
        found = json_rows(tmp_path / "out" / name)
        assert [row["token_ids"] for row in found] == [
            row["token_ids"] for row in json_rows(tmp_path / "expected" / name)
        ]
        assert len(found) == content.count(b"\n")


@pytest.mark.parametrize("waiting", [True, False])
def test_a_file_that_a_full_disk_left_unsorted_is_sorted_by_the_next_run(
    lm, source, expected, tmp_path, monkeypatch, waiting
):
    """It has all its rows, so none of its batches comes back; those of another file may."""

    def full(target):
        raise OSError(28, "No space left on device")

    folder, name = tmp_path / "out", NAMES[0]
    last_first = writer(lm, order=lambda batches: [*batches[2::-1], *batches[3:]])
    with monkeypatch.context() as patched:
        patched.setattr(FileTarget, "sort", full)
        with pytest.raises(OSError, match="No space left"):
            run(lm, source, folder, last_first)
    given = [line for line in range(1, 6) for _ in range(2)]
    assert [row["line"] for row in json_rows(folder / name)] != given
    if waiting:
        run(lm, source, folder, writer(lm))
        assert (folder / NAMES[1]).read_bytes() == expected[NAMES[1]]
    else:
        run(lm, source / name, folder, lambda batches: pytest.fail("nothing is left"))
    assert [row["line"] for row in json_rows(folder / name)] == given


def test_a_finished_run_asks_for_nothing(lm, source, expected, tmp_path):
    run(lm, source, tmp_path / "out", writer(lm))
    assert len(run(lm, source, tmp_path / "out", lambda batches: pytest.fail("nothing is left"))) == 4
    assert contents(tmp_path / "out") == expected


def test_a_file_that_a_run_without_shards_began_is_finished(lm, source, expected, tmp_path):
    target = tmp_path / "out" / NAMES[0]
    run_job(lm, source / NAMES[0], target)
    target.write_bytes(b"".join(expected[NAMES[0]].splitlines(keepends=True)[:5]))
    run(lm, source, tmp_path / "out", writer(lm))
    assert [row["line"] for row in json_rows(target)] == [line for line in range(1, 6) for _ in range(2)]


def test_force_writes_all_files_again(lm, source, expected, tmp_path):
    run(lm, source, tmp_path / "out", writer(lm, tiny_reward(lm.base, "q", seed=1)))
    assert contents(tmp_path / "out") != expected
    run(lm, source, tmp_path / "out", writer(lm), replace=True)
    assert contents(tmp_path / "out") == expected


def test_force_that_is_interrupted_resumes_without_force(lm, source, expected, tmp_path):
    """The files that it has not come to hold no rows of the earlier run."""
    folder, written = tmp_path / "out", []
    run(lm, source, folder, writer(lm, tiny_reward(lm.base, "q", seed=1)))
    with pytest.raises(Killed):
        run(lm, source, folder, writer(lm, left=1), replace=True)

    def write(batches):
        written.extend(prompt for batch in batches for prompt in batch.prompts)
        yield from writer(lm)(batches)

    run(lm, source, folder, write)
    assert contents(folder) == expected
    assert len(written) == 7


def test_force_keeps_the_files_until_the_first_texts_are_there(lm, source, expected, tmp_path):
    run(lm, source, tmp_path / "out", writer(lm))
    with pytest.raises(Killed):
        run(lm, source, tmp_path / "out", writer(lm, left=0), replace=True)
    assert contents(tmp_path / "out") == expected


def test_a_file_of_another_job_is_refused_before_anything_is_written(lm, source, tmp_path):
    run(lm, source, tmp_path / "out", writer(lm))
    other = replace(JOB, sampling=replace(JOB.sampling, seed=4))
    with pytest.raises(InvalidData, match=r"job\.sampling\.seed: 3 there, 4 here"):
        run(lm, source, tmp_path / "out", lambda batches: pytest.fail("refused too late"), job=other)


def test_a_file_of_another_reward_stays_as_it_is(lm, source, tmp_path):
    with pytest.raises(Killed):
        run(lm, source, tmp_path / "out", writer(lm, left=1))
    before = (tmp_path / "out" / NAMES[0]).read_bytes()
    with pytest.raises(InvalidData, match=r"other settings \(steer\[0\]\.fingerprint"):
        run(lm, source, tmp_path / "out", writer(lm, tiny_reward(lm.base, "q", seed=1)))
    assert (tmp_path / "out" / NAMES[0]).read_bytes() == before


def test_machines_with_different_rewards_are_refused(lm, source, tmp_path):
    def write(batches):
        yield from writer(lm, left=None)(batches[:1])
        yield from writer(lm, tiny_reward(lm.base, "q", seed=1))(batches[1:])

    with pytest.raises(InvalidData, match=r"different weights \(steer\[0\]\.fingerprint"):
        run(lm, source, tmp_path / "out", write)


def test_faults_that_a_writer_finds_are_named_and_the_others_written(lm, source, tmp_path):
    def write(batches):
        for answer in writer(lm)(batches):
            first = min(row["line"] for row in answer.rows)
            kept = [row for row in answer.rows if row["line"] != first]
            yield answer._replace(rows=kept, faults={first: "too long"})

    faults = run(lm, source / NAMES[0], tmp_path / "out", write)
    assert faults == [f"a.jsonl: line {line}: too long" for line in (1, 3, 5)]
    assert {row["line"] for row in json_rows(tmp_path / "out" / NAMES[0])} == {2, 4}


def test_lost_batches_are_an_error(lm, source, tmp_path):
    with pytest.raises(InvalidData, match="2 of 9 prompts were not continued; run the same command again"):
        run(lm, source, tmp_path / "out", writer(lm, order=lambda batches: batches[1:]))


def test_a_full_disk_ends_the_writer(lm, source, tmp_path, monkeypatch):
    ended = []

    def write(batches):
        try:
            yield from writer(lm)(batches)
        finally:
            ended.append(True)

    def full(path, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trimtab.jobs.targets.append_rows", full)
    with pytest.raises(OSError, match="No space left") as raised:
        run(lm, source, tmp_path / "out", write)
    assert ended
    assert raised.value.errno == 28


def test_a_file_that_another_process_writes_is_refused(lm, source, tmp_path):
    steer = tiny_reward(lm.base, "q").toward(2.0)
    about = {"job": JOB.record(), **provenance(lm.engine, steer)}
    target = tmp_path / "out" / NAMES[0]
    with FileTarget(target).claimed(about), pytest.raises(InvalidOutput, match="another process writes"):
        run(lm, source, tmp_path / "out", writer(lm))
    run(lm, source, tmp_path / "out", writer(lm))  # and a run that failed leaves no lock behind


def test_an_input_without_usable_prompts_is_refused(lm, source, tmp_path):
    for name in NAMES:
        (source / name).write_text("broken\n", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"2 files of --input have no usable prompt; first fault: a\.jsonl: line 1"):
        run(lm, source, tmp_path / "out", writer(lm))


def test_an_empty_shard_leaves_no_file(lm, source, tmp_path):
    (source / NAMES[1]).write_text("", encoding="utf-8")
    assert run(lm, source, tmp_path / "out", writer(lm)) == []
    assert not (tmp_path / "out" / NAMES[1]).exists()


def test_batches_have_a_size(lm, source, tmp_path):
    with pytest.raises(InvalidSetting, match="batch_size=0"):
        run(lm, source, tmp_path / "out", writer(lm), batch_size=0)
    assert issubclass(InvalidSetting, TrimtabError)
