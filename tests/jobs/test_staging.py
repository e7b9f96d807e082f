"""Jobs whose files are in an object store: the files of a job on this machine, whatever is interrupted."""

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tiny import tiny_reward
from tiny_job import JOB, run_job, write_lines
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidData, InvalidOutput, TrimtabError
from trimtab.jobs import write_prompts
from trimtab.jobs.shard_file import Written
from trimtab.jobs.sharded_run import run_shards
from trimtab.jobs.shards import find_shards
from trimtab.jobs.staging import check_urls, staged
from trimtab.jobs.targets import settings_path

NAMES = ("a.jsonl", "b.jsonl")
SOURCE, FOLDER = "memory://box/in", "memory://box/out"


@pytest.fixture
def store(tmp_path):
    """A store in memory with two shards of five prompts, which are on this machine, too."""
    MemoryFileSystem.store.clear()
    store = MemoryFileSystem()
    (tmp_path / "in").mkdir()
    for first, name in enumerate(NAMES):
        path = write_lines(tmp_path / "in" / name, [{"prompt": f"w{first + number}"} for number in range(5)])
        store.pipe(f"/box/in/{name}", path.read_bytes())
    return store


@pytest.fixture
def expected(lm, store, tmp_path):
    """The rows that a run without a store writes, and their settings, by the names of their files."""
    for name in NAMES:
        run_job(lm, tmp_path / "in" / name, tmp_path / "expected" / name)
    files = [path for name in NAMES for path in (tmp_path / "expected" / name, settings_path(tmp_path / name))]
    return {path.name: (tmp_path / "expected" / path.name).read_bytes() for path in files}


def run(lm, source=SOURCE, folder=FOLDER, left=None, replace=False, reward=None):
    """Run a job in batches of two; `left` is how many of them are written before the job is interrupted."""
    steer = (reward or tiny_reward(lm.base, "q")).toward(2.0)
    written = []

    def write(batches):
        for batch in batches:
            if len(written) == left:
                raise KeyboardInterrupt
            written.append(batch)
            yield Written(batch.shard, write_prompts(lm, batch.prompts, steer, JOB), {}, provenance(lm.engine, steer))

    with staged(Path(source), Path(folder), replace) as place:
        shards = find_shards(place.source, place.folder, replace)
        run_shards(shards, lm.engine.codec, JOB, write, 2, replace=replace, finished=place.finished)
    return len(written)


def stored(store):
    return {Path(path).name: store.cat(path) for path in store.ls("/box/out", detail=False)}


def test_the_store_has_the_files_of_a_job_on_this_machine(lm, store, expected):
    run(lm)
    assert stored(store) == expected


def test_an_interrupted_job_resumes_from_what_the_store_has(lm, store, expected):
    with pytest.raises(KeyboardInterrupt):
        run(lm, left=4)  # three batches complete the first shard
    assert stored(store)["a.jsonl"] == expected["a.jsonl"]
    assert 0 < len(stored(store)["b.jsonl"]) < len(expected["b.jsonl"])
    assert run(lm) == 2
    assert stored(store) == expected


def test_a_shard_is_stored_as_soon_as_it_is_complete(lm, store, expected, monkeypatch):
    """A killed process stores nothing at its end."""
    monkeypatch.setattr("trimtab.jobs.staging.StoredRows.store_all", lambda rows: None)
    with pytest.raises(KeyboardInterrupt):
        run(lm, left=4)
    assert stored(store) == {name: rows for name, rows in expected.items() if name.startswith("a")}
    monkeypatch.undo()
    assert run(lm) == 3
    assert stored(store) == expected


def test_a_complete_shard_is_stored_once_from_a_temporary_folder_behind_a_link(lm, store, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    (tmp_path / "tmp").symlink_to(tmp_path / "disk")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    put, files = MemoryFileSystem.put_file, []

    def put_file(store, source, target, **more):
        files.append(Path(target).name)
        return put(store, source, target, **more)

    monkeypatch.setattr(MemoryFileSystem, "put_file", put_file)
    run(lm)
    assert sorted(files) == sorted(stored(store))


def test_one_side_may_be_on_this_machine(lm, store, expected, tmp_path):
    run(lm, source=tmp_path / "in")
    assert stored(store) == expected
    run(lm, folder=tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in expected} == expected


def test_rows_of_other_weights_and_of_others_are_refused(lm, store, expected):
    run(lm)
    before = stored(store)
    store.pipe("/box/out/b.jsonl", before["b.jsonl"].split(b"\n")[0] + b"\n")
    with pytest.raises(InvalidData, match="other settings"):
        run(lm, reward=tiny_reward(lm.base, "q", seed=1))
    store.pipe("/box/out/b.jsonl", b"mine\n")
    store.rm("/box/out/b.jsonl.settings.json")
    with pytest.raises(InvalidData, match=r"has no b\.jsonl\.settings\.json beside it"):
        run(lm)
    assert store.cat("/box/out/b.jsonl") == b"mine\n"
    run(lm, replace=True)
    assert stored(store) == before


def test_force_that_is_interrupted_resumes_from_the_store(lm, store, expected):
    run(lm, reward=tiny_reward(lm.base, "q", seed=1))
    earlier = stored(store)
    with pytest.raises(KeyboardInterrupt):
        run(lm, left=0, replace=True)
    assert stored(store) == earlier
    with pytest.raises(KeyboardInterrupt):
        run(lm, left=3, replace=True)
    assert stored(store)["a.jsonl"] == expected["a.jsonl"]
    assert run(lm) == 3
    assert stored(store) == expected


def test_a_job_that_began_at_the_same_time_is_not_stored_over(lm, store):
    with staged(Path(SOURCE), Path(FOLDER)) as place:
        shard = find_shards(place.source, place.folder)[0]
        shard.target.parent.mkdir(parents=True)
        shard.target.write_text("{}\n", encoding="utf-8")
        settings_path(shard.target).write_text('{"job": 1}', encoding="utf-8")
        store.pipe("/box/out/a.jsonl.settings.json", b'{"job": 2}')
        with pytest.raises(InvalidOutput, match="another job has written") as caught:
            place.finished(shard)
        store.rm("/box/out/a.jsonl.settings.json")
    assert str(shard.target.parent) in str(caught.value)
    assert shard.target.exists()
    assert store.cat("/box/out/a.jsonl") == b"{}\n"


def test_rows_that_cannot_be_stored_are_kept(lm, store, expected, monkeypatch):
    def fail(*given, **more):
        raise OSError("the bucket is gone")

    monkeypatch.setattr(MemoryFileSystem, "put_file", fail)
    with pytest.raises(InvalidOutput, match=r"\(the bucket is gone\); the rows are kept in '(.*)'") as caught:
        run(lm)
    kept = Path(str(caught.value).split("'")[-2])
    assert (kept / "a.jsonl").read_bytes() == expected["a.jsonl"]


def test_rows_whose_storing_is_interrupted_are_kept(lm, store, expected, monkeypatch, caplog):
    """A second Ctrl-C, while an interrupted job stores what it has."""

    def interrupt(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryFileSystem, "put_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(lm, left=1)
    kept = Path(caplog.text.partition("are kept in ")[2].strip())
    assert (kept / "a.jsonl").read_bytes()


def test_a_shard_without_a_usable_prompt_is_left_out(lm, store, tmp_path):
    path = write_lines(tmp_path / "in" / "a.jsonl", [{"prompt": " ".join(["w1"] * 70)}])
    store.pipe("/box/in/a.jsonl", path.read_bytes())
    run(lm)
    assert "a.jsonl" not in stored(store)
    assert "b.jsonl" in stored(store)


def test_copies_are_removed_when_a_job_ends(lm, store):
    with staged(Path(SOURCE), Path(FOLDER)) as place:
        assert (place.source / "a.jsonl").exists()
    assert not place.source.exists()


@pytest.mark.parametrize(
    ("source", "folder", "message"),
    [
        (SOURCE, "memory://box/in", "expected another folder than that of --input"),
        ("memory://box/in/*.jsonl", "memory://box/in/", "expected another folder than that of --input"),
        ("memory://box/nowhere", FOLDER, "expected a folder with .jsonl files"),
        ("memory://box/*/a.jsonl", FOLDER, "got several files 'a.jsonl'"),
    ],
)
def test_what_cannot_be_a_job_is_refused_before_anything_is_fetched(store, source, folder, message):
    store.pipe("/box/other/a.jsonl", b"{}")
    with pytest.raises(TrimtabError, match=message):
        check_urls(Path(source), Path(folder))


def test_paths_of_this_machine_are_left_alone(tmp_path):
    assert not check_urls(tmp_path / "in", tmp_path / "out")
    with staged(tmp_path / "in", tmp_path / "out") as place:
        assert (place.source, place.folder) == (tmp_path / "in", tmp_path / "out")
