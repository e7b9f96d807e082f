"""The folder to save a reward in."""

import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.errors import InvalidOutput, InvalidSetting, WrongType
from trimtab.rewards.target import check_target


@pytest.mark.parametrize("path", ["", ".", "/", "..", "a/.."])
def test_a_path_without_a_name_is_refused(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for each in (path, Path(path)):
        with pytest.raises(InvalidOutput, match="expected a folder with a name"):
            check_target(each)


def test_new_and_empty_folders_and_those_of_a_reward_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "reward").mkdir()
    (tmp_path / "reward" / "config.json").touch()
    for name in ("new", "deep/and/new", "empty", "reward"):
        check_target(tmp_path / name)


def test_files_and_folders_with_other_files_are_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidOutput, match="it is a file"):
        check_target(tmp_path / "notes.txt")
    with pytest.raises(InvalidSetting, match=r"it holds 'notes\.txt'"):
        check_target(tmp_path)


@pytest.mark.parametrize("path", ["x" * 300, "x" * 300_000, "a\0b"])
def test_a_path_that_no_folder_can_have_is_refused_in_short(path):
    with pytest.raises(InvalidOutput, match="expected a folder that can be written") as caught:
        check_target(path)
    assert len(str(caught.value)) < 300


def test_a_path_of_another_type_is_refused():
    with pytest.raises(WrongType, match="folder="):
        check_target(3)


def test_the_check_imports_no_torch():
    code = "import sys, trimtab.rewards.target as t; t.check_target('new'); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
