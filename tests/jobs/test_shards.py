import gzip

import pytest

from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting
from trimtab.jobs.shards import Shard, find_shards, started
from trimtab.jobs.targets import settings_path


@pytest.fixture
def folder(tmp_path):
    """A folder with two shards, one of them compressed, and files that are none."""
    folder = tmp_path / "in"
    (folder / "inner.jsonl").mkdir(parents=True)
    (folder / "b.jsonl").write_text('{"prompt": "w1"}\n', encoding="utf-8")
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "w1"}\n'))
    (folder / "notes.txt").write_text("", encoding="utf-8")
    return folder


def test_a_folder_has_its_files_as_shards(folder, tmp_path):
    out = tmp_path / "out"
    expected = [Shard(folder / "a.jsonl.gz", out / "a.jsonl"), Shard(folder / "b.jsonl", out / "b.jsonl")]
    assert find_shards(folder, out) == find_shards(folder / "*", out) == expected
    assert find_shards(folder / "b*", out) == find_shards(folder / "b.jsonl", out) == expected[1:]
    assert not out.exists()


def test_a_file_with_brackets_in_its_name_is_that_file_and_no_pattern(folder, tmp_path):
    for name in ("data[1].jsonl", "data1.jsonl"):
        (folder / name).write_text('{"prompt": "w1"}\n', encoding="utf-8")
    (shard,) = find_shards(folder / "data[1].jsonl", tmp_path / "out")
    assert shard == Shard(folder / "data[1].jsonl", tmp_path / "out" / "data[1].jsonl")
    assert len(find_shards(folder / "data[12].jsonl", tmp_path / "out")) == 1


@pytest.mark.parametrize("name", [".", "c*", "nowhere", "in/notes.txt", "-"])
def test_an_input_without_shards_is_refused(folder, tmp_path, name):
    with pytest.raises(InvalidData, match=r"expected a folder with \.jsonl files"):
        find_shards(tmp_path / name, tmp_path / "out")


def test_the_folder_of_the_shards_is_not_written(folder):
    with pytest.raises(InvalidOutput, match="another folder than that of --input"):
        find_shards(folder / "b.jsonl", folder)


def test_two_shards_of_one_name_are_refused(folder, tmp_path):
    (folder / "a.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(InvalidSetting, match=r"2 files of --input for .*a\.jsonl"):
        find_shards(folder, tmp_path / "out")


def test_a_file_is_no_folder_for_rows(folder, tmp_path):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidOutput, match="expected a folder"):
        find_shards(folder, tmp_path / "out")


def test_a_target_that_is_not_ours_is_refused_unless_it_may_be_replaced(folder, tmp_path):
    target = tmp_path / "out" / "b.jsonl"
    target.parent.mkdir()
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidData, match="add --force"):
        find_shards(folder, target.parent)
    assert len(find_shards(folder, target.parent, replace=True)) == 2


def test_the_first_target_with_rows_is_found(folder, tmp_path):
    shards = find_shards(folder, tmp_path / "out")
    assert started(shards) is None
    target = shards[1].target
    target.parent.mkdir()
    target.write_text("{}\n", encoding="utf-8")
    settings_path(target).write_text('{"job": {"kind": "generate"}}', encoding="utf-8")
    assert started(find_shards(folder, tmp_path / "out")) == target
