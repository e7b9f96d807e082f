from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from trimtab.data.object_store import ObjectFolder, url_of
from trimtab.errors import InvalidData, InvalidSetting


@pytest.fixture
def store():
    """An empty store in memory."""
    MemoryFileSystem.store.clear()
    return MemoryFileSystem()


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/in/*.jsonl", "s3://bucket/in/*.jsonl"),
        (Path("s3://bucket/in"), "s3://bucket/in"),
        ("gs://b", "gs://b"),
        ("in/s3:/x", None),
        ("/data/in", None),
        ("C:/data", None),
        ("-", None),
        ("s3:///x", None),
        ("s3://", None),
    ],
)
def test_urls_are_told_from_paths(path, url):
    assert url_of(path) == url


def test_files_of_a_folder_a_pattern_and_one_file(store):
    for name in ("in/b.jsonl", "in/a.jsonl.gz", "in/notes.txt", "in/deeper/c.jsonl"):
        store.pipe(f"/box/{name}", b"x")
    endings = (".jsonl", ".jsonl.gz")

    def found(place):
        return ObjectFolder(f"memory://box/{place}", "--input").files(endings)

    assert found("in") == found("in/") == found("in/*") == ["/box/in/a.jsonl.gz", "/box/in/b.jsonl"]
    assert found("in/b.jsonl") == ["/box/in/b.jsonl"]
    assert found("nowhere") == found("in/z*") == []


def test_a_file_with_brackets_in_its_name_is_that_file_and_no_pattern(store):
    for name in ("data[1].jsonl", "data1.jsonl"):
        store.pipe(f"/box/in/{name}", b"x")
    assert ObjectFolder("memory://box/in/data[1].jsonl", "--input").files([".jsonl"]) == ["/box/in/data[1].jsonl"]
    assert ObjectFolder("memory://box/in/data[12].jsonl", "--input").files([".jsonl"]) == ["/box/in/data1.jsonl"]


@pytest.mark.parametrize("path", [Path("file:///mnt/out"), "file://mnt/out", Path("local:///mnt/out")])
def test_a_url_of_this_machine_is_refused(path):
    with pytest.raises(InvalidSetting, match=r"got --output '\w+://mnt/out', expected .* give the path itself"):
        ObjectFolder(url_of(path), "--output")


def test_what_is_stored_is_fetched(store, tmp_path):
    folder = ObjectFolder("memory://box/out", "--output")
    (tmp_path / "rows.jsonl").write_text("text\u2028\n", encoding="utf-8")
    assert not folder.fetch(folder.path_of("rows.jsonl"), tmp_path / "copy")
    folder.store(tmp_path / "rows.jsonl")
    assert folder.fetch(folder.path_of("rows.jsonl"), tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_text(encoding="utf-8") == "text\u2028\n"


def test_what_is_removed_is_gone(store, tmp_path):
    store.pipe("/box/out/rows[1].jsonl", b"x")
    store.pipe("/box/out/rows1.jsonl", b"x")
    folder = ObjectFolder("memory://box/out", "--output")
    for _ in range(2):
        folder.remove(folder.path_of("rows[1].jsonl"))
    assert folder.files([".jsonl"]) == ["/box/out/rows1.jsonl"]


def test_a_store_that_does_not_answer_is_our_error(store, monkeypatch):
    def fail(*given, **more):
        raise ConnectionError("no route\x1b[2J to host")

    monkeypatch.setattr(MemoryFileSystem, "isdir", fail)
    with pytest.raises(InvalidData, match=r"got --input 'memory://box/in', .* \(no route<U\+001B>\[2J to host\)"):
        ObjectFolder("memory://box/in", "--input").files([".jsonl"])


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("nosuch://box/in", InvalidData, "Protocol not known"),
        ("dask://box/in", InvalidSetting, "expected the library for it"),
    ],
)
def test_a_store_without_a_library_is_refused(url, error, message):
    with pytest.raises(error, match=message):
        ObjectFolder(url, "--input")
