"""The recipes and the scripts of bench/ use options and names that exist."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from trimtab.cli.app import app

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.sh"))
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))
HELPERS = sorted((ROOT / "recipes").glob("*.py"))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


def options_of(command) -> set[str]:
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options_of(each) for each in getattr(command, "commands", {}).values()))


def options_of_scripts() -> set[str]:
    """The options that a script names itself, and those that typer makes of the parameters of its functions."""
    sources = [path.read_text(encoding="utf-8") for path in (*SCRIPTS, *HELPERS)]
    parameters = {name.replace("_", "-") for text in sources for name in re.findall(r"^    (\w+): ", text, flags=re.M)}
    return {option for text in sources for option in OPTION.findall(text)} | {f"--{name}" for name in parameters}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_names_options_that_exist(path):
    known = options_of(get_command(app)) | options_of_scripts()
    assert not set(OPTION.findall(path.read_text(encoding="utf-8"))) - known


@pytest.mark.parametrize("path", [*SCRIPTS, *HELPERS], ids=lambda path: path.name)
def test_a_script_imports_names_that_exist(path, monkeypatch):
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.setattr(sys, "argv", [str(path)])
    names = runpy.run_path(str(path), run_name="imported")
    assert names.keys() & {"main", "app"} or path in HELPERS  # one may be imported by others alone
