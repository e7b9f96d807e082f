"""Frozen dataclasses as command-line options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli.dataclass_options import as_option, expands
from trimtab.errors import InvalidSetting


@dataclass(frozen=True)
class Sound:
    """Settings with every kind of field."""

    pitch: Annotated[float, "Pitch in hertz [c]."]
    colour: Annotated[Literal["dark", "bright"], "Colour of the sound."] = "dark"
    notes: Annotated[Sequence[str], "Note to play. Repeat for several."] = ()
    lengths: Annotated[tuple[int, int], "Lengths in beats."] = (1, 2)
    voices: Annotated[int | None, "Number of voices."] = None
    loop: Annotated[bool, "Play again at the end."] = False
    fade_out: Annotated[bool, "Fade out at the end."] = True

    def __post_init__(self) -> None:
        if self.pitch <= 0:
            raise InvalidSetting(f"got pitch={self.pitch}, expected above 0")


@pytest.fixture
def play():
    """Return a function that runs a command with two groups of options, and a list of what the command received."""
    app, received = typer.Typer(), []

    @app.command()
    @expands
    def command(
        title: Annotated[str, typer.Argument(help="Title of the piece.")],
        sound: Annotated[Sound, "Sound of the piece"],
        loud: Annotated[bool, typer.Option("--loud", help="Play loudly.")] = False,
    ) -> None:
        received.append((title, sound, loud))

    def run(*arguments, width=200):
        return CliRunner().invoke(app, arguments, env={"COLUMNS": str(width)})

    return run, received


def test_defaults_are_those_of_the_dataclass(play):
    run, received = play
    assert run("Title", "--pitch", "440").exit_code == 0
    assert received == [("Title", Sound(440.0), False)]


def test_every_kind_of_field_is_read(play):
    run, received = play
    done = run(
        "Title", "--loud", "--pitch", "220.5", "--colour", "bright", "--notes", "a", "--notes", "b, c",
        "--lengths", "3", "4", "--voices", "2", "--loop", "--no-fade-out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert received == [("Title", Sound(220.5, "bright", ("a", "b, c"), (3, 4), 2, True, False), True)]


def test_a_field_without_default_is_a_required_option(play):
    run, received = play
    assert run("Title").exit_code == 2
    assert received == []


@pytest.mark.parametrize("wrong", [("--colour", "grey"), ("--voices", "two"), ("--lengths", "3"), ("--no-loop",)])
def test_values_of_another_type_and_unknown_flags_are_refused(play, wrong):
    run, received = play
    assert run("Title", "--pitch", "440", *wrong).exit_code == 2
    assert received == []


def test_the_checks_of_the_dataclass_run(play):
    run, _ = play
    refused = run("Title", "--pitch", "-1").exception
    assert isinstance(refused, InvalidSetting)
    assert str(refused) == "got --pitch -1.0, expected above 0"


def test_only_options_of_the_command_are_named_as_options():
    assert as_option("got top_k=-1, expected more", {"top_k"}) == "got --top-k -1, expected more"
    assert as_option("got top_k=-1, expected more", {"seed"}) == "got top_k=-1, expected more"
    assert as_option("got a seed=3", {"seed"}) == "got a seed=3"


def test_help_lists_the_fields_under_their_title_with_brackets_intact(play):
    run, _ = play
    shown = run("--help").output
    assert "Pitch in hertz [c]." in shown
    assert shown.index("--loud") < shown.index("Sound of the piece") < shown.index("--pitch")
    assert "--no-fade-out" in shown
    assert "--no-loop" not in shown


def test_a_field_may_hold_an_option_with_names_of_its_own():
    @dataclass(frozen=True)
    class Printed:
        as_json: Annotated[bool, typer.Option("--json", help="Print [JSON].")] = False
        words: Annotated[list[str] | None, typer.Option("--word", help="A word.")] = None

    app, received = typer.Typer(), []

    @app.command()
    @expands
    def command(printed: Annotated[Printed, "Output"]) -> None:
        received.append(printed)

    for words in ([], ["--json", "--word", "a", "--word", "b"]):
        assert CliRunner().invoke(app, words).exit_code == 0
    assert received == [Printed(), Printed(True, ["a", "b"])]
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    assert "Output" in shown
    assert "--as-json" not in shown
