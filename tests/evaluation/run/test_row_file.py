"""The file of a row: counted by whole batches, locked, and refused if it is another's."""

import json

import pytest

from tiny_rows import SETTINGS as OF_THREE
from tiny_rows import text_line
from trimtab.errors import InvalidData, InvalidOutput
from trimtab.evaluation.run.row_file import WEIGHTS, RowFile, is_row, read_row

SETTINGS = {**OF_THREE, "prompts_count": 5}
MAKER = {"trimtab": "0.1.0", "device": "cpu", "steer": ({"beta": 1.0},)}
OTHER = {"trimtab": "0.2.0", "device": "cpu", "steer": ({"beta": 1.0},)}


@pytest.fixture
def file(tmp_path):
    return RowFile(tmp_path / "folder" / "row.jsonl", SETTINGS, MAKER)


def fill(file, texts):
    with file.claimed() as ours:
        assert ours
        done = file.resume([2, 2, 1])
        file.append(text_line(number) for number in range(texts))
    return done


def test_a_new_file_holds_its_settings(file):
    assert fill(file, 0) == 0
    maker = {"first_text": 0, "trimtab": "0.1.0", "device": "cpu", "steer": [{"beta": 1.0}]}
    assert read_row(file.path) == (SETTINGS, [], [maker])


@pytest.mark.parametrize(("texts", "batches", "kept"), [(1, 0, 0), (2, 1, 2), (3, 1, 2), (4, 2, 4), (5, 3, 5)])
def test_whole_batches_are_counted_and_the_rest_is_removed(file, texts, batches, kept):
    fill(file, texts)
    assert file.resume([2, 2, 1]) == batches
    assert len(read_row(file.path)[1]) == kept


def test_a_torn_last_line_is_removed(file):
    fill(file, 2)
    with file.path.open("a", encoding="utf-8") as opened:
        opened.write('{"place": 2')
    assert file.resume([2, 2]) == 1
    assert file.path.read_text(encoding="utf-8").endswith(json.dumps(text_line(1)) + "\n")


def test_a_file_with_other_settings_is_refused(file):
    fill(file, 2)
    other = RowFile(file.path, {**SETTINGS, "method": "v"})
    with pytest.raises(InvalidData, match="method: 'q' there, 'v' here"):
        other.resume([2])


def test_one_process_holds_a_row(file):
    with file.claimed() as first, RowFile(file.path, SETTINGS).claimed() as second:
        assert (first, second) == (True, False)
    with file.claimed() as again:
        assert again


def test_files_without_settings_or_with_damaged_lines_are_refused(tmp_path):
    path = tmp_path / "row.jsonl"
    path.write_text('{"place": 0}\n', encoding="utf-8")
    with pytest.raises(InvalidData, match="no settings"):
        read_row(path)
    path.write_text(json.dumps({"settings": SETTINGS}) + "\n{damaged\n{}\n", encoding="utf-8")
    with pytest.raises(InvalidData, match="damaged: line 2"):
        read_row(path)


def test_the_same_versions_change_no_byte_of_a_resumed_file(file):
    fill(file, 3)
    file.resume([2, 2, 1])
    before = file.path.read_bytes()
    assert RowFile(file.path, SETTINGS, MAKER).resume([2, 2, 1]) == 1
    assert file.path.read_bytes() == before


def test_other_versions_resume_and_are_recorded_with_their_first_text(file):
    fill(file, 2)
    other = RowFile(file.path, SETTINGS, OTHER)
    assert other.resume([2, 2, 1]) == 1
    other.append([text_line(2), text_line(3)])
    found = read_row(file.path)
    assert [(entry["first_text"], entry["trimtab"]) for entry in found.made_by] == [(0, "0.1.0"), (2, "0.2.0")]
    assert [text["place"] for text in found.texts] == [0, 1, 2, 3]


def test_a_maker_whose_texts_were_all_removed_is_removed(file):
    fill(file, 2)
    RowFile(file.path, SETTINGS, OTHER).resume([2, 2, 1])  # and it wrote nothing
    assert file.resume([2, 2, 1]) == 1
    assert [entry["trimtab"] for entry in read_row(file.path).made_by] == ["0.1.0"]


def test_a_finished_file_is_not_changed_by_other_versions(file):
    fill(file, 5)
    before = file.path.read_bytes()
    assert RowFile(file.path, SETTINGS, OTHER).resume([2, 2, 1]) == 3
    assert file.path.read_bytes() == before


def test_a_file_of_an_earlier_version_resumes(file):
    file.path.parent.mkdir()
    lines = [{"settings": SETTINGS}, text_line(0), text_line(1)]
    file.path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert read_row(file.path).made_by == []
    assert file.resume([2, 2, 1]) == 1
    assert [entry["first_text"] for entry in read_row(file.path).made_by] == [2]
    assert file.path.read_text(encoding="utf-8").endswith(json.dumps(text_line(1)) + "\n")


def test_files_can_be_checked_before_any_work(file):
    file.check()  # there is no file
    fill(file, 2)
    before = file.path.read_bytes()
    file.check()
    with pytest.raises(InvalidData, match="seed: 0 there, 1 here"):
        RowFile(file.path, {**SETTINGS, "seed": 1}).check()
    assert file.path.read_bytes() == before


def test_a_device_or_a_folder_is_no_row(tmp_path):
    (tmp_path / "row.jsonl").symlink_to("/dev/full")
    (tmp_path / "other.jsonl").mkdir()
    for name in ("row.jsonl", "other.jsonl"):
        file = RowFile(tmp_path / name, SETTINGS)
        with pytest.raises(InvalidOutput, match="regular file"), file.claimed():
            pass
        assert not is_row(file.path)


def test_a_file_is_recognised_by_its_first_line(file, tmp_path):
    fill(file, 1)
    assert is_row(file.path)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "w1"}\n', encoding="utf-8")
    assert not is_row(tmp_path / "prompts.jsonl")


@pytest.mark.parametrize("settings", [{WEIGHTS: "a"}, {}], ids=["in the settings", "only in what made the texts"])
def test_a_row_of_other_weights_is_refused(file, settings):
    """Files of older versions have the fingerprint only in the record of what made them."""
    written = RowFile(file.path, {**SETTINGS, **settings}, {**MAKER, WEIGHTS: "a"})
    fill(written, 2)
    RowFile(file.path, {**SETTINGS, WEIGHTS: "a"}).check()
    with pytest.raises(InvalidData, match=f"{WEIGHTS}: 'a' there, 'b' here"):
        RowFile(file.path, {**SETTINGS, WEIGHTS: "b"}).check()


def test_a_row_of_unknown_weights_resumes_and_its_settings_stay(file):
    fill(file, 3)
    resumed = RowFile(file.path, {**SETTINGS, WEIGHTS: "b"}, {**MAKER, WEIGHTS: "b"})
    assert resumed.resume([2, 2, 1]) == 1
    found = read_row(file.path)
    assert found.settings == SETTINGS
    assert [(entry["first_text"], entry.get(WEIGHTS)) for entry in found.made_by] == [(0, None), (2, "b")]


@pytest.mark.parametrize("lines", [[0, 0, 1], [1, 0], [0, 2], [0, 1, 2, 3, 4, 5]])
def test_texts_that_are_doubled_swapped_missing_or_too_many_are_refused(file, lines):
    with file.claimed():
        file.resume([1])
        file.append(text_line(number) for number in lines)
    with pytest.raises(InvalidData, match=r"expected sample 0 of prompt \d|more texts than prompts"):
        file.check()


def test_a_text_behind_another_prompt_is_refused(file):
    fill(file, 2)
    prompts = [text_line(number)["prompt"] for number in range(5)]
    RowFile(file.path, SETTINGS, MAKER, prompts).check()
    with pytest.raises(InvalidData, match="line 3: it continues another prompt"):
        RowFile(file.path, SETTINGS, MAKER, [prompts[0], "other", *prompts[2:]]).check()
