"""CARDS: segments that are accepted or written again, against plain samples and a computation by hand."""

import math
from dataclasses import replace

import pytest
import torch

from tiny import tiny_lm, tiny_reward
from trimtab import Segments, errors
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.segment_search import acceptance, entropy_of, uniform

OPTIONS = {"max_new_tokens": 20, "seed": 3, "top_k": 6}
PROMPT = "w1 w2"


@pytest.fixture(scope="module")
def lm():
    return LanguageModel(TorchEngine(tiny_lm("llama", seed=3)))


@pytest.fixture(scope="module")
def reward(lm):
    return tiny_reward(lm.base, "q", clamp=None)


@pytest.fixture(scope="module")
def entropies(lm):
    """Return the entropies of a plain sample, and one at which some of its tokens open segments."""
    found = [entropy_of(token.choice) for token in lm.generate(PROMPT, **OPTIONS).trace]
    return found, sorted(found)[len(found) // 2]


def prefix_reward(reward, lm, ids):
    """The reward of the prompt and what follows it, by one forward."""
    ids = [token for token in ids if token not in lm.engine.codec.eos_token_ids]
    return float(reward.score_ids([[*lm.engine.codec.encode_prompt(PROMPT), *ids]]).values[0, -1, 0])


def by_hand(lm, reward, segments, attempts):
    """The text, by plain samples that are cut, each drawn whole: no draft is kept, no batch, no cache."""
    engine, prefix = lm.engine, lm.engine.codec.encode_prompt(PROMPT)
    length, seed = OPTIONS["max_new_tokens"], OPTIONS["seed"]
    whole = Request(prefix, SamplingParams(**OPTIONS))
    start = (1 - segments.start) * prefix_reward(reward, lm, []) + segments.start * segments.goal
    text, number, tried = [], 0, []
    while len(text) < length and not set(text) & engine.codec.eos_token_ids:
        params = SamplingParams(max_new_tokens=length - len(text), seed=seed, top_k=OPTIONS["top_k"])
        ((draft,),) = engine.sample([Request(prefix, params, written=tuple(text), first_sample=number)])
        opens = [
            place
            for place, choice in enumerate(draft.choices)
            if place >= segments.shortest and (place >= segments.longest or entropy_of(choice) >= segments.entropy)
        ]
        segment = draft.token_ids[: opens[0] if opens else None]
        now = [*text, *segment]
        threshold = min(segments.goal, start + (segments.goal - start) * len(now) / length)
        score = prefix_reward(reward, lm, now)
        if uniform(whole, number, len(now)) < acceptance(score - threshold, segments.softness):
            text, tried = now, []
            continue
        number += 1
        tried.append((score, now))
        if len(tried) == attempts:
            text, tried = max(tried, key=lambda each: each[0])[1], []
    return text, number


@pytest.mark.long
@pytest.mark.parametrize("softness", [0.0, 3.0])
@pytest.mark.parametrize(("goal", "refuses"), [(-100.0, False), (5.0, True), (100.0, True)])
def test_segments_are_accepted_or_written_again_as_by_hand(lm, reward, entropies, softness, goal, refuses):
    segments = Segments(goal, entropies[1], softness=softness, shortest=2, longest=7)
    expected, refused = by_hand(lm, reward, segments, attempts=4)
    found = lm.best_of(PROMPT, 4, by=reward, segments=segments, **OPTIONS)
    (text,) = found.drafts
    assert text.token_ids == expected
    assert found.scores[0] == pytest.approx(prefix_reward(reward, lm, expected), abs=1e-4)
    assert (refused > 0) == refuses
    batch = lm.best_of([PROMPT, "w5 w6 w7"], 4, by=reward, segments=segments, **OPTIONS)
    assert batch[0].text == text.text


def test_a_text_of_accepted_segments_is_the_plain_sample(lm, reward, entropies):
    found = lm.best_of(PROMPT, 4, by=reward, segments=Segments(-1e6, entropies[1]), **OPTIONS)
    plain = lm.generate(PROMPT, **OPTIONS)
    assert found.drafts[0].token_ids == plain.token_ids
    assert found.drafts[0].usage.forwards >= plain.usage.forwards


def test_one_attempt_is_the_plain_sample_whatever_the_goal(lm, reward):
    """The only attempt is refused and taken as the best of one, under new noise for what follows."""
    segments = Segments(1e6, entropy=1e6, longest=20)
    found = lm.best_of(PROMPT, 1, by=reward, segments=segments, **OPTIONS)
    assert found.text == lm.generate(PROMPT, **OPTIONS).text


def test_one_segment_with_a_goal_out_of_reach_is_best_of_n(lm, reward):
    segments = Segments(1e6, entropy=1e6, softness=0.0, longest=20)
    found = lm.best_of(PROMPT, 5, by=reward, segments=segments, **OPTIONS)
    assert found.text == lm.best_of(PROMPT, 5, by=reward, **OPTIONS).text


def test_the_text_ends_where_the_context_ends(lm, reward):
    prompt = " ".join(["w1"] * (lm.engine.codec.context_length - 8))
    options = {**OPTIONS, "max_new_tokens": 30}
    (text,) = lm.best_of(prompt, 2, by=reward, segments=Segments(-1e6, 1.0), **options).drafts
    assert text.token_ids == lm.generate(prompt, **options).token_ids[:7]  # the reward reads BOS, too


def test_a_prompt_of_one_token_starts_at_the_goal(lm, reward):
    segments = Segments(1e6, entropy=1e6, softness=0.0, longest=20)
    found = lm.best_of(["w5", PROMPT], 3, by=reward, segments=segments, **OPTIONS)
    assert found[0].text == lm.best_of("w5", 3, by=reward, **OPTIONS).text
    assert found[1].text == lm.best_of(PROMPT, 3, by=reward, **OPTIONS).text


def test_entropy_is_that_of_the_candidates(lm):
    choice = lm.generate(PROMPT, **OPTIONS).trace[0].choice
    p = choice.base_logprobs.double().exp()
    p = p / p.sum()
    assert entropy_of(choice) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-5)
    spread = replace(choice, base_logprobs=torch.tensor([0.0, 0.0, -math.inf]), steered_logprobs=torch.zeros(3))
    assert entropy_of(spread) == pytest.approx(math.log(2))


def test_acceptance_falls_below_the_threshold():
    assert [acceptance(above, 0.5) for above in (0.1, 0.0, -0.5)] == [1.0, 1.0, pytest.approx(math.exp(-1))]
    assert [acceptance(above, 0.0) for above in (0.1, 0.0, -1e-9)] == [1.0, 1.0, 0.0]


def test_uniform_numbers_are_uniform():
    request = Request([1, 2], SamplingParams(seed=1))
    found = torch.tensor([uniform(request, 0, length) for length in range(4000)], dtype=torch.float64)
    assert found.min() >= 0
    assert found.max() < 1
    assert float(found.mean()) == pytest.approx(0.5, abs=4 * 12**-0.5 / 4000**0.5)
    assert uniform(request, 0, 1) != uniform(replace(request, first_sample=1), 0, 1)


def test_uniform_numbers_are_those_of_every_release():
    request = Request([1, 2], SamplingParams(seed=1))
    assert uniform(request, 0, 5) == 0.5782610981812926
    assert uniform(replace(request, first_sample=2), 3, 5) == 0.9451085781009512


@pytest.mark.parametrize(
    "wrong",
    [
        {"goal": math.nan},
        {"entropy": -1.0},
        {"softness": math.inf},
        {"start": 1.5},
        {"shortest": 0},
        {"shortest": 9, "longest": 8},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(errors.InvalidSetting, match=f"got {next(iter(wrong))}="):
        Segments(**{"goal": 0.5, **wrong})


def test_the_entropy_leaves_out_what_top_p_left_out(lm):
    options = {**OPTIONS, "top_k": 6, "max_new_tokens": 1}
    (whole,), (few,) = (lm.generate(PROMPT, top_p=top_p, **options).trace for top_p in (None, 0.5))
    kept = few.choice.steered_logprobs.isfinite()
    assert 0 < int(kept.sum()) < 6
    p = whole.choice.base_logprobs.double()[kept].softmax(0)
    assert entropy_of(few.choice) == pytest.approx(float(-(p * p.log()).sum()), abs=1e-5)
