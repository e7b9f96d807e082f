"""Texts that are continued, blockwise best-of and speculative rejection, against plain samples."""

import json

import pytest
import torch

from tiny import tiny_lm, tiny_reward
from trimtab import Segments, errors
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec

OPTIONS = {"max_new_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def lm():
    return LanguageModel(TorchEngine(tiny_lm("llama", seed=3)))


@pytest.fixture(scope="module")
def reward(lm):
    return tiny_reward(lm.base, "q", clamp=None)


def prefix_reward(reward, lm, prompt, ids):
    """The reward of a prompt and what follows it, by one forward."""
    ids = [token for token in ids if token not in lm.engine.codec.eos_token_ids]
    return float(reward.score_ids([[*lm.engine.codec.encode_prompt(prompt), *ids]]).values[0, -1, 0])


@pytest.mark.parametrize("steered", [False, True])
@pytest.mark.parametrize("batch_invariant", [False, True])
def test_a_text_that_is_continued_is_the_text_of_one_call(lm, reward, steered, batch_invariant):
    engine = TorchEngine(lm.base, batch_invariant=batch_invariant)
    whole = Request([5, 6, 7], SamplingParams(n=3, **OPTIONS), reward.toward(3.0) if steered else None)
    (samples,) = engine.sample([whole])
    for number, sample in enumerate(samples):
        ids = sample.token_ids
        for cut in (1, 5):
            params = SamplingParams(max_new_tokens=12 - cut, seed=3)
            rest = Request(whole.prefix, params, whole.steer, written=tuple(ids[:cut]), first_sample=number)
            ((found,),) = engine.sample([rest])
            assert found.token_ids == ids[cut:]
            assert found.finish_reason == sample.finish_reason


def test_a_stop_string_may_begin_in_what_is_written():
    engine = ScriptedEngine(WordCodec(["a", "b", "c"]), lambda words: {"b": 1.0} if words[-1] == "a" else {"c": 1.0})
    params = SamplingParams(max_new_tokens=5, seed=0, top_k=4, stop="a b")
    ((found,),) = engine.sample([Request([1], params, written=(1,))])
    assert (found.token_ids, found.finish_reason) == ([2], "stop")


@pytest.mark.parametrize("every", [1, 3, 5])
def test_halving_leaves_drafts_of_best_of_n(lm, reward, every):
    """By hand: all drafts are written to the end, and their prefixes are ranked."""
    prompt, by = "w1 w2", reward.toward(1.0)
    drafts = list(lm.generate(prompt, n=8, **OPTIONS).samples)
    left, length = list(range(8)), 0
    ended = []
    while left:
        length += every
        ended += [number for number in left if len(drafts[number].token_ids) <= length]
        left = [number for number in left if len(drafts[number].token_ids) > length]
        scores = {n: prefix_reward(reward, lm, prompt, drafts[n].token_ids[:length]) for n in left}
        left = sorted(sorted(left, key=lambda n: -scores[n])[: (len(left) + 1) // 2])
    found = lm.best_of(prompt, 8, by=by, halve_every=every, **OPTIONS)
    assert {draft.sample: draft.text for draft in found.drafts} == {n: drafts[n].text for n in ended}
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_halving_at_the_end_is_best_of_n_and_earlier_costs_less(lm, reward):
    by = reward.toward(1.0)
    plain, late = (lm.best_of("w1 w2", 8, by=by, **given, **OPTIONS) for given in ({}, {"halve_every": 12}))
    assert [draft.token_ids for draft in plain.drafts] == [draft.token_ids for draft in late.drafts]
    early = lm.best_of(["w1 w2", "w3"], 8, by=by, halve_every=2, **OPTIONS)
    alone = lm.best_of("w1 w2", 8, by=by, halve_every=2, **OPTIONS)
    assert [draft.text for draft in early[0].drafts] == [draft.text for draft in alone.drafts]
    assert len(alone.drafts) < len(plain.drafts)


def test_a_block_is_the_best_of_n_blocks(lm, reward):
    prompt = "w1 w2"
    found = lm.best_of(prompt, 6, by=reward, block=2, **OPTIONS)
    (text,) = found.drafts
    first = lm.generate(prompt, n=6, **{**OPTIONS, "max_new_tokens": 2}).samples
    best = max(first, key=lambda draft: prefix_reward(reward, lm, prompt, draft.token_ids))
    assert text.token_ids[:2] == best.token_ids
    assert len(text.token_ids) <= 12
    assert text.usage.tokens >= 4 * len(text.token_ids)  # of all drafts of each block
    assert found.scores[0] == pytest.approx(prefix_reward(reward, lm, prompt, text.token_ids), abs=1e-4)
    one = lm.best_of(prompt, 1, by=reward, block=3, **OPTIONS)
    assert one.text == lm.generate(prompt, **OPTIONS).text


def test_a_block_of_the_whole_length_is_best_of_n(lm, reward):
    plain = lm.best_of("w1 w2", 6, by=reward, **OPTIONS)
    assert lm.best_of("w1 w2", 6, by=reward, block=12, **OPTIONS).text == plain.text


def test_what_does_not_fit_is_refused(lm, reward):
    segments = Segments(0.5)
    for given in ({"block": 0}, {"halve_every": 0}, {"block": 2, "halve_every": 2}, {"block": 2, "segments": segments}):
        with pytest.raises(errors.InvalidSetting, match="1 token, one of block, halve_every and segments"):
            lm.best_of("w1", 2, by=reward, **given, **OPTIONS)


@pytest.mark.parametrize("given", [{}, {"block": 3}, {"halve_every": 3}])
def test_the_text_ends_where_the_context_ends(lm, reward, given):
    prompt = " ".join(["w1"] * (lm.engine.codec.context_length - 8))
    options = {**OPTIONS, "max_new_tokens": 30}
    (text,) = lm.best_of(prompt, 1, by=reward, **given, **options).drafts
    assert text.token_ids == lm.generate(prompt, **options).token_ids[:7]  # the reward reads BOS, too
    with pytest.raises(errors.InvalidPrompt, match=r"expected 1 to 62: .* ranks"):
        lm.best_of(prompt + " w1" * 7, 1, by=reward, **given, **options)


def test_args_is_greedy_rad_without_a_clamp(lm):
    """ARGS (2402.01694): the argmax of log p + w · r(x v) over the top k, by brute force in float64."""
    reward = tiny_reward(lm.base, "v", clamp=None)
    ids, weight = list(lm.engine.codec.encode_prompt("w1 w2")), 1.5
    found = lm.generate("w1 w2", reward.toward(weight), temperature=0.0, top_k=6, max_new_tokens=5, seed=0)
    for token in found.token_ids:
        with torch.no_grad():
            logits = lm.model(torch.tensor([ids])).logits[0, -1].double()
        top = logits.topk(6).indices.tolist()
        scores = [logits[v] + weight * reward.score_ids([[*ids, v]]).values[0, -1, 0].double() for v in top]
        assert token == top[int(torch.stack(scores).argmax())]
        ids.append(token)


def test_sasa_is_a_v_head_on_a_frozen_trunk(lm):
    """SASA (2410.03818): z_v + β · the margin of a linear probe on the model's own state behind x v."""
    reward = tiny_reward(lm.base, "v", "frozen", layers=lm.base.layers, attributes=("margin",), clamp=None)
    probe = reward.network.head.prefix_value
    ids = list(lm.engine.codec.encode_prompt("w1 w2"))
    choice = lm.generate("w1 w2", reward.toward(2.0), top_k=6, max_new_tokens=1, seed=0).trace[0].choice
    for column, token in enumerate(choice.candidates.tolist()):
        opened = [lm.base.bos_token_id, *ids, token]
        with torch.no_grad():
            state = lm.model(torch.tensor([opened]), output_hidden_states=True).hidden_states[-1][0, -1]
        margin = float(probe.weight[0].double() @ state.double() + probe.bias[0].double())
        (rewards,) = choice.rewards.values()
        assert float(rewards[column]) == pytest.approx(margin, abs=1e-3)
        steered = choice.base_logprobs[column] + 2 * margin
        assert float(choice.steered_logprobs[column] - choice.steered_logprobs[0]) == pytest.approx(
            float(steered - (choice.base_logprobs[0] + 2 * rewards[0])), abs=1e-3
        )


@pytest.mark.parametrize("settings", [{"block": 3}, {"halve_every": 3}, {"segments": Segments(goal=0.9)}], ids=list)
def test_a_reward_has_one_name_throughout_a_text(lm, reward, settings):
    """A prompt leaves the batch when its text ends, and the rewards of the other are then counted anew."""
    steers = [tiny_reward(lm.base, "q", seed=seed).toward(1.0) for seed in (1, 2)]
    params = [SamplingParams(max_new_tokens=length, seed=3) for length in (2, 12)]
    by = lm.best_of(["w1 w2", "w3"], 4, by=reward, steer=steers, params=params, **settings)
    for ranked in by:
        for draft in ranked.drafts:
            assert all(token.rewards.keys() == draft.mean_rewards.keys() for token in draft.trace)
            assert len(draft.mean_rewards) == 2


@pytest.mark.parametrize("settings", [{}, {"block": 3}, {"halve_every": 3}, {"segments": Segments(goal=0.9)}], ids=list)
def test_the_record_says_how_the_text_was_written(lm, reward, settings):
    made_by = lm.best_of("w1 w2", 4, by=reward, **settings, **OPTIONS).provenance
    asked = {name: dict(vars(each)) if name == "segments" else each for name, each in settings.items()}
    assert made_by.get("best_of", {}) == asked
    json.dumps(made_by)
