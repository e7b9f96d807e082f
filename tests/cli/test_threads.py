"""The option --threads."""

import os

import pytest
import torch
import typer
from typer.testing import CliRunner

from trimtab.cli.app import app
from trimtab.cli.help import hide_flag_types
from trimtab.cli.threads import VARIABLES, limit_threads


@pytest.fixture(autouse=True)
def threads_of_before(monkeypatch):
    """Restore the threads of torch and the environment."""
    for name in VARIABLES:
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_command_computes_with_that_many_threads():
    commands, seen = typer.Typer(), []

    @commands.command()
    def count(times: int = 1) -> None:
        seen.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], times))

    hide_flag_types(commands)
    for wanted in ("3", "1"):
        assert CliRunner().invoke(commands, ["--times", "2", "--threads", wanted]).exit_code == 0
    assert seen == [(3, "3", 2), (1, "1", 2)]


def test_without_the_option_nothing_changes():
    before = torch.get_num_threads()
    assert limit_threads(None) is None
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
def test_a_wrong_number_is_refused(wrong):
    done = CliRunner().invoke(app, ["rewards", "list", "--threads", wrong])
    assert done.exit_code == 2
    assert "--threads" in done.output


@pytest.mark.parametrize(
    "words", [["generate"], ["score"], ["rewind", "search"], ["rewind", "calibrate"], ["evaluate"]]
)
def test_every_command_has_it_in_its_help(words):
    group = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "120"})
    assert group.exit_code == 0
    assert ("--threads" in group.output) == (words != ["evaluate"])  # a group has it in its commands
