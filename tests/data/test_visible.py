"""Characters that a reader cannot see are named; all others stay."""

import json
import sys
from unicodedata import category

import pytest

from trimtab.data.visible import code_point, is_hidden, legible, legible_json, one_line

CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1)]
EVERY = [each for each in CHARACTERS if category(each)[0] in "CZM" and category(each) not in ("Co", "Cn", "Cs")]
EVERY += CHARACTERS[:0x3000] + CHARACTERS[0x3000::23]  # all that may be hidden, the first planes, and a sample
TERMINAL = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))} - {"\n", "\t"}  # a terminal acts on these
DIRECTION = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # UAX 9


def test_what_a_terminal_acts_on_and_marks_of_direction_never_remain():
    assert not (TERMINAL | DIRECTION) & set(legible("".join(EVERY)))
    assert {"\n", "\t"} <= set(legible("".join(EVERY)))
    assert not {"\n", "\t"} & set(one_line("".join(EVERY)))


def test_letters_signs_spaces_and_joined_emoji_stay():
    for text in ("Grüße, 你好! שלום مرحبا", "👩\u200d🔬 ❤️", "a\u00a0b\u3000c", "Zeile\n\tzwei", "\ue000"):
        assert legible(text) == text
    assert all(not is_hidden(each) for each in EVERY if category(each)[0] in "PNSM" and each != "\u2800")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", "<U+001B>[31mred"),
        ("\x9b31m", "<U+009B>31m"),
        ("a\u202eb", "a<U+202E>b"),
        ("a\r\nb", "a<U+000D>\nb"),
        ("\U000e0041", "<U+E0041>"),
        ("\ud800", "<U+D800>"),
        ("\u3164", "<U+3164>"),
    ],
)
def test_hidden_characters_become_their_numbers(text, expected):
    assert legible(text) == expected


def test_one_line_shows_line_breaks():
    assert one_line("a\nb\tc") == "a↵b<U+0009>c"
    assert code_point("\x1b") == "U+001B"


def test_escaped_json_has_the_same_value_and_nothing_hidden():
    value = {"key\x9b": "".join(each for each in EVERY if category(each) != "Cs") + "\ud800", "n": [1, None]}
    text = legible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not any(is_hidden(each) for each in text)
    assert legible_json(json.dumps(value, ensure_ascii=False, indent=1)).count("\n") > 3
