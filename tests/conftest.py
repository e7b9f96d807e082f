import functools
import gc
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported; no test needs the network

import huggingface_hub.utils
import pytest
import typer.main

import shape_checks  # noqa: F401
import trimtab
from fake_hub import FakeHub
from tiny import FAMILIES, tiny_ladder, tiny_lm, tiny_reward
from trimtab.data import hub
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel

gc.set_threshold(100_000)  # as the command line does
typer.main.get_command = functools.cache(typer.main.get_command)  # one build for all commands of this process


def pytest_collection_finish():
    """Collect no more garbage among what torch and transformers hold: every run of their Trainer looks for some."""
    gc.freeze()


@pytest.fixture(scope="session", params=FAMILIES)
def frozen(request):
    return tiny_lm(request.param)


@pytest.fixture(scope="session", params=["q", "v"])
def head(request):
    return request.param


@pytest.fixture(scope="session", params=["q", "v", "ladder"])
def reward(frozen, request):
    return tiny_ladder(frozen) if request.param == "ladder" else tiny_reward(frozen, request.param)


@pytest.fixture(scope="session")
def family_lm(frozen):
    return LanguageModel(TorchEngine(frozen))


@pytest.fixture(scope="session")
def llama():
    return tiny_lm("llama")


@pytest.fixture(scope="session")
def lm(llama):
    return LanguageModel(TorchEngine(llama))


@pytest.fixture(scope="session")
def smollm2():
    return trimtab.load("smollm2")


@pytest.fixture
def online(monkeypatch, tmp_path):
    """Return a function that points huggingface_hub to an address, with an empty cache and without a token."""
    for name in hub.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # the fake has large files alone
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(hub._Silence, "until", 0.0)

    def go(port: int) -> None:
        address = f"http://127.0.0.1:{port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )

    yield go
    huggingface_hub.utils.close_session()


@pytest.fixture
def fake_hub(online):
    """Return a Hub in memory, to which huggingface_hub is pointed."""
    server = FakeHub()
    online(server.server_port)
    yield server
    server.stop()


@pytest.fixture
def eager(monkeypatch):
    """Check every draft, however often drafts were wrong, and whatever they cost."""
    monkeypatch.setattr("trimtab.engines.torch.speculation.draft_length", lambda rates, longest, *_: max(longest))
    monkeypatch.setattr("trimtab.engines.torch.speculation.draft_size", lambda worths, cost, deep, most: most)
    monkeypatch.setattr("trimtab.engines.draft_length.Balance.affords", lambda self, lost: True)
