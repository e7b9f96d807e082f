"""Multiple-choice questions."""

import json

import pytest

from trimtab.data.choices import Question, read_questions
from trimtab.errors import InvalidData

ROW = {"prompt": "ask", "choices": [" a", " b"], "answer": 1}


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "set.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return str(path)

    return write


def test_questions_are_read_with_the_spaces_of_their_choices(written):
    assert read_questions(written(ROW)).rows == [Question("ask", (" a", " b"), 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": 2},
        {"answer": -1},
        {"answer": True},
        {"answer": "1"},
        {"choices": [" a"]},
        {"choices": " a b"},
        {"choices": [" a", 3]},
        {"choices": [" a", " a"]},
        {"prompt": ""},
        {"prompt": None},
    ],
)
def test_what_is_no_question_is_a_fault(written, wrong):
    table = read_questions(written(ROW, {**ROW, **wrong}))
    assert len(table.rows) == 1
    assert "line 2" in table.faults[0]


def test_a_question_that_cannot_be_asked_is_a_fault(written):
    def check(question):
        raise ValueError("too long")

    with pytest.raises(InvalidData, match="too long"):
        read_questions(written(ROW), check=check)
