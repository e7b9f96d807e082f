"""Damaged files of rows: each is read as it was, or refused by InvalidData that names the file."""

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiny_rows import SETTINGS, text_line
from trimtab.errors import InvalidData
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.run.row_file import read_row, row_name
from trimtab.evaluation.run.row_schema import settings_fault, text_fault
from trimtab.judges.text_judges import TextJudge

HEAD = {"settings": SETTINGS, "made_by": [{"first_text": 0, "trimtab": "0.1.0"}]}
CONTENT = "".join(json.dumps(line) + "\n" for line in [HEAD, *(text_line(place) for place in range(3))]).encode()
NAME = f"{row_name(SETTINGS)}.jsonl"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EACH = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def judged(path, content):
    """Measure a folder with one row of that content; the only error is InvalidData."""
    path.write_bytes(content)
    for old in path.parent.glob("readings/*"):
        old.unlink()
    with contextlib.suppress(InvalidData):  # no other error
        return measure(path.parent, [TextJudge("half", lambda texts: [0.5] * len(texts))])
    return None


@EACH
@given(place=st.integers(0, len(CONTENT) - 1), byte=st.integers(0, 255))
def test_a_flipped_byte_is_harmless_or_refused(tmp_path, place, byte):
    judged(tmp_path / NAME, CONTENT[:place] + bytes([byte]) + CONTENT[place + 1 :])


@EACH
@given(length=st.integers(0, len(CONTENT)))
def test_a_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path, length):
    judged(tmp_path / NAME, CONTENT[:length])


@EACH
@given(name=st.sampled_from(sorted([*SETTINGS, "chat", "system"])), value=JSON)
def test_a_setting_of_another_type_is_harmless_or_refused(tmp_path, name, value):
    lines = [{"settings": {**SETTINGS, name: value}}, text_line(0)]
    judged(tmp_path / NAME, "".join(json.dumps(line) + "\n" for line in lines).encode())


@EACH
@given(name=st.sampled_from(sorted(text_line(0))), value=JSON)
def test_a_value_of_another_type_is_harmless_or_refused(tmp_path, name, value):
    lines = [HEAD, text_line(0, **{name: value}), text_line(1)]
    judged(tmp_path / NAME, "".join(json.dumps(line) + "\n" for line in lines).encode())


def test_a_whole_file_is_measured(tmp_path):
    report = judged(tmp_path / NAME, CONTENT)
    assert len(report.rows[0].row.texts) == 3
    assert report.rows[0].row.made_by[0]["trimtab"] == "0.1.0"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"samples": 0}, "at least 1"),
        ({"seed": "0"}, "'seed' is '0'"),
        ({"seed": True}, "'seed' is True"),
        ({"direction": "left"}, "expected 'up' or 'down'"),
        ({"beta": "2"}, "'beta'"),
        ({"rewards": ["q"]}, "'rewards'"),
        ({"drafts": 2.5}, "'drafts'"),
    ],
)
def test_settings_are_checked_by_name(change, fault):
    assert settings_fault(SETTINGS) == ""
    assert fault in settings_fault({**SETTINGS, **change})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"place": -1}, "'place' is -1"),
        ({"text": None}, "'text' is None"),
        ({"kl": [0.1]}, "for each token"),
        ({"base_logprobs": [-1.0, "2"]}, "'base_logprobs'"),
        ({"encoded": "much"}, "'encoded'"),
    ],
)
def test_texts_are_checked_by_name(change, fault):
    assert text_fault(text_line(0)) == ""
    assert fault in text_fault(text_line(0, **change))
    assert "no 'text'" in text_fault({name: value for name, value in text_line(0).items() if name != "text"})


def test_a_damaged_text_is_refused_with_its_line(tmp_path):
    lines = [HEAD, text_line(0), text_line(1, kl=3)]
    (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(InvalidData, match=r"q=2\.jsonl.*line 3: 'kl' is 3"):
        read_row(tmp_path / NAME)
