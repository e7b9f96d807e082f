"""Finished comparisons on tiny models, of plain prompts and of messages, and copies for tests that change them."""

import shutil

import pytest

from tiny_chat import chat_lm
from tiny_sweep import CHAT_SETTINGS, tiny_sweep
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel


@pytest.fixture(scope="session")
def whole(lm, tmp_path_factory):
    """The folder of a finished comparison; tests only read it."""
    folder = tmp_path_factory.mktemp("whole")
    assert tiny_sweep(lm, folder).run(lm) == []
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the finished comparison."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def chatting():
    """A tiny model with a chat template."""
    return LanguageModel(TorchEngine(chat_lm()))


@pytest.fixture(scope="session")
def whole_chat(chatting, tmp_path_factory):
    """The folder of a finished comparison whose prompts were messages; tests only read it."""
    folder = tmp_path_factory.mktemp("whole-chat")
    assert tiny_sweep(chatting, folder, CHAT_SETTINGS).run(chatting) == []
    return folder


@pytest.fixture
def copied_chat(whole_chat, tmp_path):
    """A copy of it."""
    shutil.copytree(whole_chat, tmp_path / "chat")
    return tmp_path / "chat"
