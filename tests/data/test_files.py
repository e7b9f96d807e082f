"""Folders that appear complete or not at all, file names, and JSON objects in files."""

import errno
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest

from trimtab.data.files import file_name, read_record, shown_path, whole_folder, why_not_written
from trimtab.data.outputs import partial_path
from trimtab.errors import InvalidData


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_the_block_ends(tmp_path):
    with whole_folder(tmp_path / "new" / "folder") as partial:
        (partial / "file").write_text("x", encoding="utf-8")
        assert not (tmp_path / "new" / "folder").exists()
    assert names(tmp_path / "new") == ["folder"]
    assert names(tmp_path / "new" / "folder") == ["file"]


def test_a_failing_block_leaves_nothing_behind(tmp_path):
    def fail():
        with whole_folder(tmp_path / "folder") as partial:
            (partial / "file").write_text("x", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("replace", "kept"), [(False, ["old"]), (True, ["new"])])
def test_an_existing_folder_is_replaced_on_request_only(tmp_path, replace, kept):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    with whole_folder(folder, replace) as partial:
        (partial / "new").touch()
    assert names(folder) == kept
    assert names(tmp_path) == ["folder"]


def test_a_link_is_followed_and_kept(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with whole_folder(tmp_path / "link", replace=True) as partial:
        (partial / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new"]
    assert names(tmp_path) == ["link", "real"]


def test_the_older_folder_stays_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def refuse(self, target):
        if (self / "new").exists():
            raise OSError(13, "Permission denied")
        return rename(self, target)

    def write():
        with whole_folder(folder, replace=True) as partial:
            (partial / "new").touch()

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        write()
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_a_file_in_the_place_of_the_folder_is_an_error_and_stays(tmp_path):
    (tmp_path / "file").write_text("x", encoding="utf-8")

    def write():
        with whole_folder(tmp_path / "file" / "folder", replace=True):
            pass

    with pytest.raises(OSError, match="file"):
        write()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rewards/polite:tone", "rewards-polite-tone"),
        ("β=20 + best-of", "β=20-+-best-of"),
        ("../../etc", "etc"),
        ("a\\b|c?*", "a-b-c"),
    ],
)
def test_file_names_have_no_characters_that_a_file_system_may_refuse(text, name):
    assert file_name(text) == name


def test_a_json_object_is_read(tmp_path):
    path = tmp_path / "record.json"
    assert read_record(path) == {}
    path.write_text('{"a": [1]}', encoding="utf-8")
    assert read_record(path) == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot read"), ("[1]", "got list"), ('{"a": NaN}', "cannot read"), ("[" * 100_000, "too deeply")],
)
def test_a_damaged_json_file_is_refused(tmp_path, content, message):
    path = tmp_path / "record.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=message):
        read_record(path)


def stale(path):
    """The name that a killed process gave to what it wrote."""
    here = partial_path(path).name.removesuffix(".partial").rpartition(".")[0]
    return path.with_name(f"{here}.{dead_process()}-1.partial")


def dead_process():
    """The number of a process that has ended."""
    with Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = stale(tmp_path / "folder")
    left.mkdir()
    (left / "weights").touch()
    with whole_folder(tmp_path / "folder") as partial:
        (partial / "new").touch()
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["new"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_folder_that_a_killed_process_moved_aside_is_put_back(tmp_path, fails):
    folder = tmp_path / "folder"
    aside = stale(tmp_path / "folder.replaced")
    aside.mkdir()
    (aside / "old").touch()
    with suppress(KeyboardInterrupt), whole_folder(folder, replace=True) as partial:
        (partial / "new").touch()
        if fails:
            raise KeyboardInterrupt
    assert names(tmp_path) == ["folder"]
    assert names(folder) == (["old"] if fails else ["new"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError(errno.EACCES, "Permission denied", "/a/b"), "Permission denied"),
        (ValueError("something\nelse"), "something else"),
    ],
)
def test_why_a_file_is_not_written_is_told_without_its_path(error, expected):
    assert why_not_written(error) == expected


def test_of_a_long_path_the_end_is_shown():
    assert shown_path("a/b.csv") == "'a/b.csv'"
    long = shown_path("x" * 300_000 + "/name.csv")
    assert long.endswith("/name.csv'")
    assert len(long) < 160
    assert shown_path("\x1b[31m").isprintable()
