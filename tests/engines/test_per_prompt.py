import pytest

from trimtab.engines.per_prompt import as_list, per_prompt
from trimtab.errors import InvalidPrompt, InvalidSetting, WrongType

TURNS = [{"role": "user", "content": "w1"}]


def test_one_text_is_a_list_of_one_and_a_list_is_copied():
    prompts = ["w1", TURNS]
    assert as_list("w1") == ["w1"]
    assert as_list(prompts) == prompts
    assert as_list(prompts) is not prompts


@pytest.mark.parametrize("prompts", [TURNS, {"a": 1}, None, 3, (each for each in "ab"), {"w1"}, [3], [None]])
def test_what_is_no_list_of_prompts_is_refused(prompts):
    with pytest.raises(InvalidPrompt, match=r"expected a (text|list)"):
        as_list(prompts)


@pytest.mark.parametrize(("given", "expected"), [(None, [None, None]), (3, [3, 3]), ([1, None], [1, None])])
def test_one_value_is_for_all_prompts_and_a_list_is_for_each(given, expected):
    assert per_prompt(given, int, ["w1", "w2"], "steer", "a number") == expected


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("x", WrongType, "got steer='x', expected a number"),
        ([1], InvalidSetting, "got a list of 1 for steer, expected one value, or one per prompt: 2"),
        ([1, "x"], WrongType, "got steer='x'"),
        (iter([1, 2]), WrongType, "expected a number"),
    ],
)
def test_values_of_another_kind_or_number_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        per_prompt(given, int, ["w1", "w2"], "steer", "a number")
