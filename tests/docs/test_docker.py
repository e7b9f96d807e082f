"""The container's files name commands, options, routes and files that exist. Building it needs Docker."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from trimtab.cli.app import app

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
SCRAPED = yaml.safe_load(COMPOSE["configs"]["scrape"]["content"])


def parse(words: list[str]) -> None:
    """Let a command parse words; it runs nothing."""
    command = get_command(app)
    name, *rest = words
    command.commands[name].make_context(name, rest)


def started() -> list[list[str]]:
    return [json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, flags=re.M)[0]), COMPOSE["services"]["trimtab"]["command"]]


@pytest.mark.parametrize("words", started(), ids=["Dockerfile", "compose"])
def test_the_server_is_started_by_a_command_that_parses(words):
    parse(words)
    assert words[words.index("--port") + 1] == "8000"


def test_the_image_is_built_by_commands_that_parse():
    (line,) = re.findall(r"^RUN trimtab (.*)$", DOCKERFILE, flags=re.M)
    parse(shlex.split(line))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"'\.\[(\w+)\]'", DOCKERFILE)) <= set(extras)


def test_every_file_that_the_image_copies_is_let_through():
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, flags=re.M) for name in line.split()}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_health_and_metrics_are_routes_of_the_server():
    create_app = pytest.importorskip("trimtab.server.app").create_app
    from trimtab.language_model import LanguageModel
    from trimtab.testing import ScriptedEngine, WordCodec

    lm = LanguageModel(ScriptedEngine(WordCodec(["a"]), lambda words: {"a": 1.0}))
    routes = {route.path for route in create_app(lm, "words").routes}
    (job,) = SCRAPED["scrape_configs"]
    assert job["metrics_path"] in routes
    assert "/health" in routes
    assert "127.0.0.1:8000/health" in DOCKERFILE
    assert job["static_configs"] == [{"targets": ["trimtab:8000"]}]


def test_the_key_is_read_from_the_variable_that_the_server_reads():
    from trimtab.cli.serve import KEY_VARIABLE

    assert KEY_VARIABLE in COMPOSE["services"]["trimtab"]["environment"]
    assert SCRAPED["scrape_configs"][0]["authorization"]["credentials"] == f"${{{KEY_VARIABLE}}}"


def test_nothing_listens_beyond_this_machine():
    ports = [port for service in COMPOSE["services"].values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
