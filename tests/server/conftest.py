"""Servers on free ports over a tiny random model. Without the web packages these tests are not collected."""

from importlib.util import find_spec

import pytest

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "httpx", "openai")

if not all(map(find_spec, NEEDED)):
    collect_ignore_glob = ["test_*.py"]
else:
    import httpx

    from running_server import running
    from tiny import tiny_reward
    from tiny_chat import chat_lm
    from trimtab.engines.torch.engine import TorchEngine
    from trimtab.language_model import LanguageModel
    from trimtab.server.app import create_app
    from trimtab.server.reward_shelf import RegisteredReward
    from trimtab.server.server_settings import ServerSettings


@pytest.fixture(scope="session")
def chatting():
    """A tiny random model with a chat template."""
    return LanguageModel(TorchEngine(chat_lm()))


@pytest.fixture(scope="session")
def shelf(chatting):
    """Two registered rewards of different methods."""
    arm, rad = tiny_reward(chatting.base, "q", seed=1), tiny_reward(chatting.base, "v", seed=2)
    return [RegisteredReward.of("mood", arm), RegisteredReward.of("mood-rad", rad)]


@pytest.fixture(scope="session")
def app(chatting, shelf):
    """An application over the tiny model."""
    return create_app(chatting, "tiny", shelf, ServerSettings(max_rows=16, max_tokens=40))


@pytest.fixture(scope="session")
def address(app):
    """The address of a server over the tiny model."""
    with running(app) as url:
        yield url


@pytest.fixture(scope="session")
def http(address):
    """An HTTP client of that server."""
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client
