"""The client snippets of docs/server.md run against a server, and its tables name what exists."""

import contextlib
import io
import json
import re
import shlex
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from running_server import running
from trimtab.server.app import create_app
from trimtab.server.reward_shelf import RegisteredReward
from trimtab.server.schemas import ChatRequest, CompletionRequest, RewindFields
from trimtab.server.server_settings import ServerSettings

PAGE = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.M | re.S)
SHOWN = "http://127.0.0.1:8000"


def blocks(language):
    return [text for found, text in BLOCK.findall(PAGE) if found == language]


@pytest.fixture(scope="module")
def shown(chatting, shelf):
    """A server with the names of the page over the tiny model."""
    toxicity, sentiment = (each.reward for each in shelf)
    rewards = [RegisteredReward.of("toxicity", toxicity), RegisteredReward.of("sentiment", sentiment)]
    with running(create_app(chatting, "smollm2", rewards)) as url:
        yield url


def test_the_python_snippets_run(shown):
    names = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        for text in blocks("py"):
            exec(compile(text.replace(SHOWN, shown), "server.md", "exec"), names)
    names["client"].close()
    assert "'direction': 'away'" in printed.getvalue()


def test_the_curl_command_runs(shown):
    (command,) = [text for text in blocks("sh") if text.startswith("curl")]
    words = shlex.split(command.replace(SHOWN, shown).replace("\\\n", " "))
    done = subprocess.run([*words, "-sS"], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["trimtab"]["steer"][0]["reward"] == "toxicity"


@pytest.mark.parametrize("schema", [CompletionRequest, ChatRequest, RewindFields])
def test_every_field_of_a_request_is_on_the_page(schema):
    assert not [name for name in schema.model_fields if f"`{name}`" not in PAGE]


def test_every_route_and_limit_is_on_the_page(shown, chatting):
    routes = create_app(chatting, "smollm2").openapi()["paths"]
    assert not [path for path in routes if f" {path}`" not in PAGE]
    limits = [each.name for each in fields(ServerSettings) if each.name.startswith("max_")]
    assert not [name for name in limits if f"`--{name.replace('_', '-')}`" not in PAGE]
