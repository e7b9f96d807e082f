import math

import pytest
import torch

from trimtab.engines.base import Choice, Chunk, Request, collect, require, require_base
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import UnsupportedByEngine
from trimtab.testing import ScriptedEngine, WordCodec


def engine_with(*capabilities):
    return ScriptedEngine(WordCodec(["a"]), lambda words: {"a": 1.0}, frozenset(capabilities))


def choice_of(token_id):
    """Return a token that was chosen among three, of which steering prefers another."""
    base, steered = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.1, 0.3, 0.6]).log()
    return Choice(token_id, 1, torch.tensor([7, token_id, 9]), base, steered, {})


def test_a_choice_has_the_log_probabilities_of_its_column():
    choice = choice_of(8)
    assert choice.base_logprob == choice.logprob == pytest.approx(math.log(0.3))
    assert choice.flipped


def test_a_missing_capability_is_named_with_those_that_the_engine_has():
    require(engine_with("score"), ["score"], "this")
    require(engine_with(), [], "this")
    with pytest.raises(UnsupportedByEngine, match=r"this needs an engine with rewards, states; .* has score$"):
        require(engine_with("score"), ["states", "rewards"], "this")
    with pytest.raises(UnsupportedByEngine, match="has none of these"):
        require(engine_with(), ["score"], "this")


def test_an_engine_without_the_model_in_this_process_is_refused(lm):
    assert require_base(lm.engine, "training") is lm.base
    with pytest.raises(UnsupportedByEngine, match="training needs the model in this process; ScriptedEngine keeps it"):
        require_base(engine_with(), "training")


def test_chunks_of_several_samples_are_folded_in_any_order():
    requests = [Request([1], SamplingParams(n=2, seed=0)), Request([2], SamplingParams(seed=0))]
    tokens = {token: choice_of(token) for token in range(10, 16)}
    chunks = [
        [Chunk(1, 0, (tokens[10],), None), Chunk(0, 1, (tokens[11],), "eos")],
        [],
        [Chunk(0, 0, (tokens[12], tokens[13]), None)],
        [Chunk(1, 0, (tokens[14],), "stop"), Chunk(0, 0, (tokens[15],), "length")],
    ]
    (first, second), (third,) = collect(requests, chunks)
    assert (first.token_ids, first.finish_reason) == ([12, 13, 15], "length")
    assert (second.token_ids, second.finish_reason) == ([11], "eos")
    assert (third.token_ids, third.finish_reason) == ([10, 14], "stop")
