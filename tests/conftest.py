import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported; no test needs the network

import pytest

import trimtab
from tiny import FAMILIES, tiny_ladder, tiny_lm, tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel


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
