import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.data.outputs import (
    check_folder,
    check_output,
    partial_path,
    remove_stale_partials,
    set_new_mode,
    write_whole,
)
from trimtab.errors import InvalidOutput


def test_a_new_file_in_a_new_folder_is_accepted_and_written(tmp_path):
    path = check_output(tmp_path / "a" / "b.html", "--html")
    assert not path.parent.exists()
    write_whole(path, "text\u2028")
    assert path.read_text(encoding="utf-8") == "text\u2028"
    assert [each.name for each in path.parent.iterdir()] == ["b.html"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_the_mode_of_a_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "new", "text")
        (tmp_path / "closed").touch(mode=0o600)
        set_new_mode(tmp_path / "closed")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {mode}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "folder", "pipe", "file/x.html", "loop", "x" * 300, "a\0b"])
def test_what_cannot_be_a_file_of_ours_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidOutput, match="got --html"):
        check_output(tmp_path / name, "--html", replace=True)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_an_existing_file_needs_force(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidOutput, match="exists; choose another path, or add --force"):
        check_output(path, "--html")
    assert check_output(path, "--html", replace=True) == path


def test_the_input_is_never_the_output_under_any_name(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text("mine", encoding="utf-8")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    for name in ("in.jsonl", "soft", "hard", "../" + tmp_path.name + "/in.jsonl"):
        with pytest.raises(InvalidOutput, match="expected another file than the input"):
            check_output(tmp_path / name, "--output", [source], replace=True)


def test_a_symbolic_link_is_followed_and_stays(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real.html")
    path = check_output(tmp_path / "link", "--html")
    write_whole(path, b"page")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.html").read_bytes() == b"page"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(InvalidOutput, match="may be written"):
        check_output(folder / "page.html", "--html")


def test_what_killed_processes_left_is_removed_by_the_next_write(tmp_path):
    path = tmp_path / "page.html"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = partial_path(path)
    left, folder = (path.with_name(ours.name.replace(str(os.getpid()), str(dead.pid))) for _ in range(2))
    left.write_text("half", encoding="utf-8")
    running = path.with_name(ours.name.replace(str(os.getpid()), "1"))
    running.write_text("another process writes this", encoding="utf-8")
    other = partial_path(tmp_path / "other.html")
    other.write_text("of another file", encoding="utf-8")
    write_whole(path, "page")
    assert {each.name for each in tmp_path.iterdir()} == {"page.html", running.name, other.name}
    folder.mkdir()
    (folder / "inside").write_text("half", encoding="utf-8")
    remove_stale_partials(path)
    assert not folder.exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o600)

    def fail(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    monkeypatch.undo()
    write_whole(path, "new")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc")
def test_a_folder_that_only_claims_to_take_files_is_refused():
    with pytest.raises(InvalidOutput, match="expected a folder that may be written: '/proc'"):
        check_folder(Path("/proc/rewards"), "--out")


@pytest.mark.parametrize("kind", ["file", "below a file", "device", "loop", "long"])
def test_what_is_no_folder_is_refused(tmp_path, kind):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "sub",
        "device": type(tmp_path)("/dev/full"),
        "loop": tmp_path / "loop",
        "long": tmp_path / ("x" * 300),
    }[kind]
    with pytest.raises(InvalidOutput, match="--out"):
        check_folder(path, "--out")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_folders_that_can_be_made_are_accepted(tmp_path):
    check_folder(tmp_path, "--out")
    check_folder(tmp_path / "new" / "deeper", "--out")
    assert not (tmp_path / "new").exists()
