import pytest

from trimtab.errors import InvalidSetting
from trimtab.steering.notation import SteerText, parse_reward, parse_steer, usual_steer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toxicity=-30", SteerText("toxicity", None, -30.0)),
        ("sentiment=+20", SteerText("sentiment", None, 20.0)),
        ("sentiment=2e1", SteerText("sentiment", None, 20.0)),
        ("mine:calm=0.5", SteerText("mine", "calm", 0.5)),
        ("a/folder:calm=1", SteerText("a/folder", "calm", 1.0)),
        ("C:/rewards/mine=1", SteerText("C:/rewards/mine", None, 1.0)),
        ("C:\\rewards\\mine:calm=1", SteerText("C:\\rewards\\mine", "calm", 1.0)),
        ("odd=name=3", SteerText("odd=name", None, 3.0)),
    ],
)
def test_a_steer_is_read_from_its_text(text, expected):
    assert parse_steer(text) == expected


@pytest.mark.parametrize("text", ["", "toxicity", "toxicity=", "=3", "toxicity=much", "toxicity=inf", "toxicity=nan"])
def test_a_text_of_another_form_is_refused_with_an_example(text):
    with pytest.raises(InvalidSetting, match=r"expected NAME=\+BETA or NAME:ATTRIBUTE=-BETA"):
        parse_steer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toxicity", ("toxicity", None)),
        ("toxicity:insult", ("toxicity", "insult")),
        ("some/where:insult", ("some/where", "insult")),
        ("C:/some/where", ("C:/some/where", None)),
    ],
)
def test_a_reward_is_read_from_its_text(text, expected):
    assert parse_reward(text) == expected


@pytest.mark.parametrize(
    ("attributes", "strength", "expected"),
    [
        (("kind",), 30, "mine=+30"),
        (("insult", "kind"), 30, "mine:insult=-30"),
        (("kind", "insult"), 1, "mine:kind=+1"),
    ],
)
def test_a_usual_steer_goes_away_from_what_is_bad_and_names_one_of_several_attributes(attributes, strength, expected):
    assert usual_steer("mine", attributes, strength) == expected
