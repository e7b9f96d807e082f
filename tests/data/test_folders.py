"""Folders that appear complete or not at all."""

import os
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest

from trimtab.data.folders import whole_folder
from trimtab.data.outputs import partial_path

LENGTHS = [39, 40, 41, 200]  # of names: partial names hold the first 40 characters


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


def stale(path, mark="partial"):
    """The name that a killed process gave to what it wrote, or moved aside."""
    here = partial_path(path, mark)
    return path.with_name(here.name.replace(f".{os.getpid()}-", f".{dead_process()}-"))


def dead_process():
    """The number of a process that has ended."""
    with Popen(["true"]) as process:
        process.wait()
    return process.pid


def written(folder, *content):
    """Make a folder with these files."""
    folder.mkdir()
    for name in content:
        (folder / name).touch()
    return folder


def test_what_a_killed_process_left_is_removed(tmp_path):
    written(stale(tmp_path / "folder"), "weights")
    with whole_folder(tmp_path / "folder") as partial:
        (partial / "new").touch()
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["new"]


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_folder_that_a_killed_process_moved_aside_is_put_back(tmp_path, fails, length):
    folder = tmp_path / ("x" * length)
    written(stale(folder, "replaced"), "old")
    written(stale(folder), "half")
    with suppress(KeyboardInterrupt), whole_folder(folder, replace=True) as partial:
        (partial / "new").touch()
        if fails:
            raise KeyboardInterrupt
    assert names(tmp_path) == [folder.name]
    assert names(folder) == (["old"] if fails else ["new"])


@pytest.mark.parametrize("length", LENGTHS)
def test_a_folder_is_replaced_again_and_again_whatever_the_length_of_its_name(tmp_path, length):
    folder = tmp_path / ("x" * length)
    for content in ("one", "two", "three"):
        with whole_folder(folder, replace=True) as partial:
            (partial / content).touch()
        assert names(tmp_path) == [folder.name]
        assert names(folder) == [content]


@pytest.mark.parametrize("length", LENGTHS)
def test_folders_of_running_processes_are_left_alone(tmp_path, length):
    """Process 1 always runs. What it moved aside, and what it is writing, is not taken for an older version."""
    folder = tmp_path / ("x" * length)
    theirs = [partial_path(folder, mark).name.replace(f".{os.getpid()}-", ".1-") for mark in ("partial", "replaced")]
    for name in theirs:
        written(tmp_path / name, "theirs")
    with whole_folder(folder) as partial:
        (partial / "new").touch()
    assert names(tmp_path) == sorted([folder.name, *theirs])
    assert names(folder) == ["new"]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_folder_never_takes_the_remains_of_a_longer_name(tmp_path, length):
    """Names that begin alike, and a folder that is named as if it were replaced."""
    folder = tmp_path / ("x" * length)
    others = [stale(folder.with_name(f"{folder.name}{more}")) for more in ("y", ".replaced")]
    for other in others:
        written(other, "others")
    with whole_folder(folder) as partial:
        (partial / "new").touch()
    assert names(folder) == ["new"]
    assert names(tmp_path) == sorted([folder.name, *(other.name for other in others)])
