"""The rendered `--help` of every command."""

import re
import shlex
from dataclasses import fields
from functools import cache
from typing import get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli.app import app
from trimtab.engines.sampling_params import SamplingParams
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep_settings import Grid, PlotOptions, ScoringOptions, SweepSettings
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.training.recipe import DistilSettings, LabelSettings, PairSettings, Recipe, Source

WIDTH = 200  # columns
DEFAULTS = {"rewind": "rewind search", "bench": "bench tokens"}  # the command that a group runs where none is named
SETTINGS = {
    "generate": (SamplingParams,),
    "rewind search": (RewindSettings, Budget),
    "train labels": (Source, Recipe, LabelSettings),
    "train pairs": (Source, Recipe, PairSettings),
    "train distil": (Source, Recipe, DistilSettings),
    "evaluate toxicity": (Grid, SweepSettings, SearchSettings, ScoringOptions, PlotOptions),
    "evaluate sentiment": (Grid, SweepSettings, SearchSettings, ScoringOptions, PlotOptions),
    "evaluate prompts": (Grid, SweepSettings, SearchSettings, ScoringOptions, PlotOptions),
    "evaluate report": (ScoringOptions, PlotOptions),
}
RIDDLES = ("so many", "goes on", "what is", "how it", "is told", "matter", "…", "most of", "a step,", "the most ")


def walk(command, name=""):
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{name} {child}".strip())


COMMANDS = dict(walk(typer.main.get_command(app)))
LEAVES = [name for name, command in COMMANDS.items() if not getattr(command, "commands", {})]


@cache
def rendered(name, option="--help", width=WIDTH):
    """Return the help of a command as lines without the borders of panels."""
    done = CliRunner().invoke(app, [*name.split(), option], env={"COLUMNS": str(width)}, catch_exceptions=False)
    assert done.exit_code == 0
    return [line.strip("│╭╮╰╯─ ") for line in done.output.split("\n")]


def in_one_line(lines):
    return " ".join(" ".join(lines).split())


def test_every_command_that_takes_settings_is_tested():
    assert set(SETTINGS) <= set(LEAVES)


@pytest.mark.parametrize(("name", "settings"), SETTINGS.items())
def test_help_shows_the_whole_text_of_every_setting(name, settings):
    shown = in_one_line(rendered(name))
    for kind in settings:
        types = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            assert f"--{field.name.replace('_', '-')}" in shown
            assert in_one_line([get_args(types[field.name])[1]]) in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_whole_text_of_every_option_and_argument(name):
    shown = in_one_line(rendered(name))
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{parameter.name} has no help text"
        assert in_one_line([parameter.help.replace("\\[", "[")]) in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_whole_description(name):
    """Rich must not read a part of it as markup."""
    command = COMMANDS[name]
    texts = [] if name in DEFAULTS else [command.help, command.epilog]  # its help is that of its default command
    for text in texts:
        assert in_one_line([text or ""]) in in_one_line(rendered(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_show_no_type(name):
    assert "<bool>" not in in_one_line(rendered(name))


@pytest.mark.parametrize("name", COMMANDS)
def test_h_prints_the_same_as_help(name):
    assert rendered(name, "-h") == rendered(name, "--help")


@pytest.mark.parametrize("name", LEAVES)
def test_each_example_is_a_line_of_its_own_with_options_of_the_command(name):
    lines = [line for line in rendered(name) if "Example:" in line]
    assert lines or name == "rewards list"
    for line in lines:
        assert line.startswith("Example: trimtab ")
        words = shlex.split(line)[2:]
        called = name.split()[:1] if name in DEFAULTS.values() else name.split()
        assert words[: len(called)] == called
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_are_sentences_without_riddles(name):
    for parameter in COMMANDS[name].params:
        assert parameter.help.endswith("."), parameter.help
        assert not [words for words in RIDDLES if words in parameter.help.lower()], parameter.help


@pytest.mark.parametrize("name", LEAVES)
def test_option_names_are_whole_on_a_terminal_of_80_columns(name):
    shown = [word.strip(",") for line in rendered(name, width=80) for word in line.replace(",", " ").split()]
    assert {option for parameter in COMMANDS[name].params for option in parameter.opts if "-" in option} <= set(shown)


def test_settings_of_a_search_are_listed_in_panels():
    lines = rendered("rewind search")
    panels = [lines.index(title) for title in ("Options", "Search", "Budget")]
    options = [
        next(i for i, line in enumerate(lines) if line.startswith(f"--{name} "))
        for name in ("judge", "exploration", "max-iterations")
    ]
    assert [panels[0], options[0], panels[1], options[1], panels[2], options[2]] == sorted(panels + options)


def test_the_symbols_of_the_paper_are_shown_in_brackets():
    shown = in_one_line(rendered("rewind search"))
    for symbol in ("[T]", "[T_m]", "[V]", "[c]", "[γ]"):
        assert symbol in shown
    assert re.search(r"--exploration +<float> .*\[c\]", shown)
