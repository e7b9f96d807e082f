"""Every Python and shell snippet of the README and the docs runs, and prints what the page shows.

* `python` blocks of a page run in order and share their names. A `text` block behind one is its output.
* `console` blocks hold `$ command` lines, each with its output. `...` stands for any lines.
* `sh` blocks run where they need no data; the other commands must exist, with the options that they name.
"""

import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.M | re.S)
GROUPS = {"train", "import", "evaluate", "rewards", "rewind"}
RUNNABLE = ("trimtab generate", "trimtab score", 'trimtab rewind "', "trimtab rewards list")


class Block(NamedTuple):
    """A fenced block: its language and its lines."""

    language: str
    text: str


class Command(NamedTuple):
    """A shell command and the output that the page shows; None if it shows none."""

    line: str
    output: str | None


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> Iterator[Command]:
    for language, text in blocks(page):
        if language == "sh":
            yield from (Command(line, None) for line in text.splitlines() if line.startswith("trimtab "))
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
                line, _, output = part.partition("\n")
                yield Command(line, output)


def named(pairs: list[tuple[Path, Command]]) -> list[object]:
    return [pytest.param(command, id=f"{page.stem}: {command.line[:60]}") for page, command in pairs]


ALL_COMMANDS = [(page, command) for page in PAGES for command in commands(page)]
RUN = [(page, command) for page, command in ALL_COMMANDS if command.line.startswith(RUNNABLE)]
PYTHON_PAGES = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty working folder with a file of prompts."""
    rows = [{"prompt": "The food was"}, {"messages": [{"role": "user", "content": "Hello"}]}]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.stem)
def test_python_snippets_print_what_the_page_shows(page, one_model, assert_shows, folder):
    names: dict[str, object] = {}
    found = blocks(page)
    for block, following in zip(found, [*found[1:], Block("", "")], strict=True):
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(block.text, str(page), "exec"), names)
            if following.language == "text":
                assert_shows(printed.getvalue(), following.text)


@pytest.mark.slow
@pytest.mark.parametrize("command", named(RUN))
def test_commands_print_what_the_page_shows(command, one_model, assert_shows, folder):
    from trimtab.cli.app import app

    shown = CliRunner(env={"COLUMNS": "120", "NO_COLOR": "1"}).invoke(app, shlex.split(command.line)[1:])
    assert shown.exit_code == 0, shown.output
    if command.output is not None:
        assert_shows(shown.stdout, command.output)
    elif "--output" not in command.line:
        assert shown.stdout.strip()


@pytest.mark.parametrize("command", named([each for each in ALL_COMMANDS if each not in RUN]))
def test_the_other_commands_have_the_options_they_name(command):
    from trimtab.cli.app import app

    words = shlex.split(command.line)[1:]
    names = [word for word in words[: 2 if words[0] in GROUPS else 1] if not word.startswith("-")]
    shown = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [*names, "--help"])
    assert shown.exit_code == 0, shown.output
    assert not [word for word in words if word.startswith("--") and word not in shown.output]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 800
