"""Tokens coloured by their reward."""

import pytest

from trimtab.cli.console import LEGEND_STEPS, colour, coloured, error_console, legend


@pytest.mark.parametrize(
    ("reward", "expected"),
    [(0.0, "#ff6464"), (0.5, "#ffff64"), (1.0, "#64ff64"), (-3.0, "#ff6464"), (7.0, "#64ff64"), (0.25, "#ffb164")],
)
def test_colours_go_from_red_over_yellow_to_green(reward, expected):
    assert colour(reward) == expected


def test_each_token_is_on_the_colour_of_its_reward():
    text = coloured("You are", [" so", " kind"], [0.0, 1.0])
    assert text.plain == "You are so kind"
    spans = [(text.plain[span.start : span.end], span.style) for span in text.spans]
    assert spans == [("You are", "dim"), (" so", "black on #ff6464"), (" kind", "black on #64ff64")]


def test_tokens_without_a_reward_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        coloured("You are", [" so", " kind"], [0.0])


def test_the_legend_shows_the_name_the_scale_and_the_mean():
    text = legend("toxicity:toxic", [0.25, 0.5])
    assert text.plain.split() == ["toxicity:toxic", "0…1,", "mean", "0.375"]
    assert len(text.spans) == LEGEND_STEPS + 1


def test_the_error_console_writes_to_stderr_without_highlighting(capsys):
    error_console().print("3 rows skipped")
    assert capsys.readouterr() == ("", "3 rows skipped\n")
