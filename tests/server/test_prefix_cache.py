"""What a server keeps of the prompts and texts that it has encoded."""

import httpx
import pytest

from running_server import running
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.server.app import create_app
from trimtab.server.loading import with_prefix_cache
from trimtab.server.server_settings import ServerSettings
from trimtab.testing import ScriptedEngine, WordCodec

TURN = " ".join(f"w{number}" for number in range(1, 25))


def ask(app, prompts, **fields):
    """The texts of some prompts, and the tokens that each went through the model for."""
    engine, found, spent = app.state.trimtab.lm.engine, [], []
    with running(app) as url, httpx.Client(base_url=url, timeout=30) as http:
        for prompt in prompts:
            before = engine.usage.tokens
            body = {"prompt": prompt, "seed": 1, "max_tokens": 4, "temperature": 0, **fields}
            done = http.post("/v1/completions", json=body)
            assert done.status_code == 200, done.text
            found.append(done.json()["choices"][0]["text"])
            spent.append(engine.usage.tokens - before)
    return found, spent


@pytest.mark.parametrize("fields", [{}, {"steer": {"mood": 3}}, {"steer": {"mood-rad": 3}, "top_k": 4}])
def test_a_longer_prompt_is_encoded_from_where_it_differs(chatting, shelf, fields):
    prompts = [TURN, f"{TURN} w30 w31"]
    kept = create_app(chatting, "tiny", shelf, ServerSettings(prefix_cache=0.1))
    forgetful = create_app(chatting, "tiny", shelf, ServerSettings(prefix_cache=0))
    expected, whole = ask(forgetful, prompts, **fields)
    found, spent = ask(kept, prompts, **fields)
    assert found == expected
    assert spent[0] == whole[0]
    assert spent[1] <= whole[1] - 24


def test_a_batch_invariant_engine_keeps_nothing(chatting):
    engine = with_prefix_cache(LanguageModel(TorchEngine(chatting.base, batch_invariant=True)), 1.0).engine
    assert engine.batch_invariant
    assert engine.prefix_cache is None


def test_an_engine_elsewhere_is_left_alone():
    lm = LanguageModel(ScriptedEngine(WordCodec(["a"]), lambda words: {"a": 1.0}))
    assert with_prefix_cache(lm, 1.0) is lm
