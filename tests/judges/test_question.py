"""Questions: the shipped ones are balanced, their text is laid out as documented, and damaged files are refused."""

from dataclasses import replace

import pytest

from trimtab.errors import InvalidData, InvalidSetting
from trimtab.judges.question import FOLDER, parse_question, question_of, read_question

QUESTION = {
    "instruction": "Judge.",
    "layout": "User: {prompt}\nAssistant: {text}",
    "ask": "Good?",
    "options": [{"text": "Yes.", "score": 1}, {"text": "No.", "score": 0}],
    "examples": [
        {"prompt": "Hello", "text": "Hi.", "answer": "Yes."},
        {"prompt": "Hello", "text": "Go!", "answer": "No."},
    ],
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_shipped_questions_use_every_option_and_every_letter(name):
    question = read_question(name)
    assert len(question.examples) >= 8
    answers = [example.answer for example in question.examples]
    assert {answers.count(option) for option in range(len(question.options))} in ({3}, {4}, {5})
    lettered = [line[-2] for line in question.preamble().split("\n") if line.endswith(")") and "answer is: (" in line]
    assert len(lettered) == len(answers)
    assert all(lettered.count(letter) >= 2 for letter in question.letters)
    assert len({option.score for option in question.options}) == len(question.options)
    assert question.tail(swapped=True).endswith("The answer is: (")


def test_the_preamble_swaps_the_options_of_every_second_example():
    assert parse_question("mine", QUESTION).preamble() == (
        "Judge.\n\nUser: Hello\nAssistant: Hi.\nGood? (A) Yes. (B) No. The answer is: (A)\n\n"
        "User: Hello\nAssistant: Go!\nGood? (A) No. (B) Yes. The answer is: (A)\n\n"
    )


@pytest.mark.parametrize(
    ("prompt", "opening"),
    [
        ("Who?", "User: Who?\nAssistant:"),
        ("Human: Who?\n\nAssistant:", "Human: Who?\n\nAssistant:"),
        ("", "Assistant:"),
    ],
)
def test_the_opening_shows_the_prompt_in_the_layout(prompt, opening):
    assert parse_question("mine", QUESTION).opening(prompt) == opening


def as_toml(question):
    lines = [f"{name} = {value!r}" for name, value in question.items() if isinstance(value, str)]
    for name in ("options", "examples"):
        for each in question[name]:
            lines += [f"[[{name}]]", *(f"{key} = {value!r}" for key, value in each.items())]
    return "\n".join(lines).replace("'", '"')


def test_a_question_is_read_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(QUESTION), encoding="utf-8")
    assert question_of(f"self:{path}") == parse_question("mine", QUESTION)


@pytest.mark.parametrize(
    "wrong",
    [
        {"layout": "no place"},
        {"options": [{"text": "Yes.", "score": 1}]},
        {"options": [{"text": "Yes.", "score": 2}, {"text": "No.", "score": 0}]},
        {"examples": [{"text": "Hi.", "answer": "Perhaps."}]},
        {"ask": None},
    ],
)
def test_damaged_questions_are_refused(tmp_path, wrong):
    path = tmp_path / "mine.toml"
    path.write_text(as_toml({**QUESTION, **wrong}), encoding="utf-8")
    with pytest.raises(InvalidData, match="is not a question"):
        read_question(str(path))


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("not = toml = at all", encoding="utf-8")
    with pytest.raises(InvalidData, match="is not a question"):
        read_question(str(path))


def test_unknown_questions_are_refused_with_the_known_names():
    with pytest.raises(InvalidSetting, match="harmlessness"):
        read_question("nowhere.toml")
    with pytest.raises(InvalidSetting, match="expected self"):
        question_of("me")


def test_self_asks_about_harmlessness():
    assert question_of("self") == read_question("harmlessness")
    assert question_of("self:sentiment") == read_question("sentiment")


def test_the_digest_depends_on_every_word_and_score():
    question = read_question("harmlessness")
    others = [
        replace(question, ask=question.ask + " "),
        replace(question, examples=question.examples[:-1]),
        replace(question, options=(replace(question.options[0], score=0.5), *question.options[1:])),
    ]
    assert question.digest == read_question("harmlessness").digest
    assert len({question.digest, *(each.digest for each in others)}) == 4


def test_a_question_that_is_nested_too_deeply_is_refused(tmp_path):
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 3000 + "]" * 3000, encoding="utf-8")
    with pytest.raises(InvalidData, match="nested too deeply"):
        question_of(f"self:{path}")


@pytest.mark.parametrize("name", ["x" * 300_000, "x" * 300_000 + ".toml", "\x1b[31m.toml"])
def test_the_message_about_an_unknown_question_is_short_and_plain(name):
    with pytest.raises(InvalidSetting, match="harmlessness") as caught:
        read_question(name)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
