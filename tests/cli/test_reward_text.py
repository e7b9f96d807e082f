"""Texts with their rewards: colours by what the steer wants, and numbers where there are no colours."""

import io
import re

import pytest
from rich.console import Console

from tiny import tiny_reward
from trimtab.cli.console import colour
from trimtab.cli.reward_text import coloured_text, combined, legend, print_rewards, steered_rewards, table

TOKENS = [" so", " wonder", "ful", " day"]


@pytest.fixture
def reward(llama):
    return tiny_reward(llama, "q")


def values_of(reward, kind, calm=None):
    found = {f"{reward.name}:kind": kind}
    return found if calm is None else found | {f"{reward.name}:calm": calm}


def printed(steer, rewards, prompt="What", tokens=TOKENS, **options):
    console = Console(file=io.StringIO(), **{"width": 60, "highlight": False} | options)
    print_rewards(console, prompt, tokens, rewards, steer)
    return console.file.getvalue()


def backgrounds(text):
    return [str(span.style) for span in text.spans if "black on" in str(span.style)]


def test_harmless_text_is_green_when_the_steer_is_away(reward):
    low = values_of(reward, [0.0, 0.0, 0.0, 1.0])
    away, toward = (combined(steered_rewards(low, steer), 4) for steer in (reward.away(30), reward.toward(30)))
    assert away == [1.0, 1.0, 1.0, 0.0]
    assert toward == [0.0, 0.0, 0.0, 1.0]
    assert backgrounds(coloured_text("What", TOKENS, away)) == [
        *[f"black on {colour(1)}"] * 3,
        f"black on {colour(0)}",
    ]


def test_a_negative_beta_and_away_are_the_same_direction(reward):
    rewards = values_of(reward, [0.25, 0.5, 0.75, 1.5])
    assert combined(steered_rewards(rewards, reward.toward(-3)), 4) == [0.75, 0.5, 0.25, 0.0]
    assert combined(steered_rewards(rewards, reward.away(-3)), 4) == [0.25, 0.5, 0.75, 1.0]


def test_terms_are_weighted_by_beta_within_their_ranges(reward):
    rewards = values_of(reward, [0.5] * 4, [0.0, 1.0, 2.0, 4.0])
    steer = reward.toward(1) + reward.away(3, "calm", clamp=(0.0, 2.0))
    expected = [0.125 + 0.75, 0.125 + 0.375, 0.125, 0.125]
    assert combined(steered_rewards(rewards, steer), 4) == pytest.approx(expected)


def test_a_reward_without_a_range_is_placed_in_the_range_of_its_text(reward, llama):
    steer = tiny_reward(llama, "q", clamp=None).toward(1)
    assert combined(steered_rewards(values_of(reward, [-2.0, 0.0, 2.0]), steer), 3) == [0.0, 0.5, 1.0]
    assert combined(steered_rewards(values_of(reward, [7.0, 7.0]), steer), 2) == [0.5, 0.5]


def test_a_steer_of_beta_0_and_a_text_without_rewards_have_middle_colours(reward):
    rewards = values_of(reward, [0.0, 1.0])
    assert combined(steered_rewards(rewards, reward.toward(0)), 2) == [0.0, 1.0]
    assert combined(steered_rewards({}, reward.toward(1)), 2) == [0.5, 0.5]


def test_on_a_terminal_the_text_is_printed_once_with_all_rewards_below(reward):
    rewards = values_of(reward, [0.25] * 4, [0.5] * 4)
    steer = reward.away(30) + reward.toward(20, "calm")
    shown = printed(steer, rewards, force_terminal=True, color_system="truecolor")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain.count("wonderful") == 1
    assert "against the steer" in plain
    assert f"{reward.name}:kind: away, β 30, mean reward 0.250" in plain
    assert f"{reward.name}:calm: toward, β 20, mean reward 0.500" in plain


def test_lines_are_not_wrapped_within_words(reward):
    tokens = [" wonder", "ful"] * 12
    steer, rewards = reward.away(30), values_of(reward, [0.25] * 24)
    shown = printed(steer, rewards, tokens=tokens, width=25, force_terminal=True, color_system="truecolor")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).split("\n")
    assert sum(line.count("wonderful") for line in lines) == 12
    assert sum("wonderful" in line for line in lines) > 4


@pytest.mark.parametrize(
    "options",
    [{"force_terminal": False}, {"force_terminal": True, "color_system": "truecolor", "no_color": True}],
)
def test_without_colours_there_are_numbers_and_no_escape_codes(reward, options):
    rewards = values_of(reward, [0.1, 0.2, 0.3, 0.4], [0.5] * 4)
    shown = printed(reward.away(30) + reward.toward(10, "calm"), rewards, **options)
    assert "\x1b" not in shown
    text, head, *rows = shown.rstrip("\n").split("\n")
    assert text == "What so wonderful day"
    assert head.split()[0] == "token"
    assert len({len(row) for row in [head, *rows]}) == 1
    assert rows[1].split() == ["'", "wonder'", "0.2000", "0.5000", f"{0.75 * 0.8 + 0.25 * 0.5:.4f}"]
    assert rows[-1].split()[:2] == ["mean", "0.2500"]


def test_no_color_in_the_environment_gives_numbers(reward, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = printed(reward.away(30), values_of(reward, [0.1] * 4), force_terminal=True, color_system="truecolor")
    assert "0.1000" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("options", [{}, {"force_terminal": True, "color_system": "truecolor"}])
def test_hidden_characters_are_named_and_markup_is_text(reward, options):
    tokens = ["\x1b[31m", "[red]", "\u202e"]
    shown = printed(reward.away(30), values_of(reward, [0.1] * 3), prompt="\x9b", tokens=tokens, width=200, **options)
    ours = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "<U+009B><U+001B>[31m[red]<U+202E>" in ours
    assert not {"\x1b", "\x9b", "\u202e"} & set(ours)
    assert ours.count("\x1b") == 0


def test_the_legend_and_the_table_name_hidden_characters_of_attributes(reward):
    (term,) = steered_rewards(values_of(reward, [0.5]), reward.toward(1))
    evil = term._replace(name="evil\x1b[2J")
    assert "evil<U+001B>[2J: toward" in legend([evil]).plain
    assert "evil<U+001B>[2J (toward" in table(["a"], {evil.name: [0.5]}, [evil], [0.5])
