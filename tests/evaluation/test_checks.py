"""Checks of inputs and outputs before any work."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from trimtab.errors import InvalidOutput, InvalidSetting
from trimtab.evaluation.checks import (
    check_at_least,
    check_different,
    check_files,
    check_template,
    holding,
    write_in,
)


def test_a_count_is_refused_by_name():
    check_at_least(1, limit=None, samples=1)
    with pytest.raises(InvalidSetting, match="got rounds=-1, expected at least 0"):
        check_at_least(0, rounds=-1)


def test_a_name_may_stand_there_once():
    check_different("reward", ["a", "b"])
    with pytest.raises(InvalidSetting, match="'a' twice"):
        check_different("reward", ["a", "b", "a"])


def test_files_of_others_are_refused_and_ours_are_replaced(tmp_path):
    (tmp_path / "report.md").write_text("mine", encoding="utf-8")
    check_files(tmp_path, ["report.md", "other"], "--out", ours=True)
    with pytest.raises(InvalidOutput, match=r"'report\.md' was not written by this command"):
        check_files(tmp_path, ["report.md"], "--out", ours=False)
    (tmp_path / "device").symlink_to("/dev/full")
    with pytest.raises(InvalidOutput, match="not a regular file"):
        check_files(tmp_path, ["device"], "--out", ours=True)


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert write_in(tmp_path, "link", "new") == tmp_path / "link"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "new"


def test_a_file_is_held_by_one_at_a_time_whatever_the_length_of_its_name(tmp_path):
    inside, most = [], []

    def add(number):
        with holding(tmp_path / "new", "x" * 250):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(32)))
    assert most == [1] * 32


@pytest.mark.parametrize(
    "template", ["{prompt}", "{answer", "{other}{answer}", "{0}{answer}", "{answer.x}", "{{answer}}"]
)
def test_templates_without_an_answer_or_with_other_places_are_refused(template):
    with pytest.raises(InvalidSetting, match="template"):
        check_template(template)


def test_templates_with_braces_written_twice_are_accepted():
    check_template("{{json}} {prompt} {answer}")
