"""RAD's three ways give the same rewards, and each keeps the laws of a reward state."""

import pytest
import torch

from tiny import tiny_reward
from trimtab import testing
from trimtab.benchmark.reference import CachedCalls, ReEncoding, computed_by
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.language_model import LanguageModel
from trimtab.steering.steer import Steer, Term

PROMPT = [10, 20, 30, 40, 11, 21, 31]
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
CANDIDATES = [5, 17, 29, 41, 53]
METHODS = ["block mask", "cached calls", "re-encoding"]


@pytest.fixture(scope="module")
def rad(frozen):
    return tiny_reward(frozen, "v")


@pytest.fixture(params=METHODS[1:])
def method(request):
    return request.param


@pytest.fixture
def reference(rad, method, monkeypatch):
    """Return the reward with the states of a method."""
    monkeypatch.setattr(rad, "start", computed_by(method, rad).start)
    assert type(rad.start()) is {"cached calls": CachedCalls, "re-encoding": ReEncoding}[method]
    return rad


@torch.inference_mode()
def test_the_three_ways_give_the_same_rewards(frozen, rad):
    """Over a padded batch, step by step, in float32."""
    batch = frozen.batch(PROMPTS)
    states = [computed_by(method, rad).start() for method in METHODS]
    for state in states:
        state.prefill(batch.ids, batch.mask)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        candidates = torch.randint(4, 64, (len(PROMPTS), 6), generator=generator)
        ours, *others = [state.rewards(candidates) for state in states]
        assert ours.std() > 0.01, "rewards that are all the same show nothing"
        for other in others:
            torch.testing.assert_close(other, ours, atol=1e-4, rtol=0)
        choice = torch.randint(6, (len(PROMPTS),), generator=generator)
        for state in states:
            state.advance(candidates.gather(1, choice[:, None]).squeeze(1), choice)


def test_the_three_ways_write_the_same_texts(frozen, rad):
    lm = LanguageModel(TorchEngine(frozen))
    texts = [
        [one.token_ids for one in lm.generate(["w1 w2 w3", "w4"], steer, top_k=6, max_new_tokens=8, seed=2)]
        for steer in (Steer((Term(computed_by(method, rad), 0, 5.0, clamp=None),)) for method in METHODS)
    ]
    assert texts[0] == texts[1] == texts[2]


def test_a_cached_state_equals_forwards_over_the_whole_text(reference):
    testing.assert_cached_equals_recomputed(reference, PROMPT, [5, 44, 29, 6], CANDIDATES)


def test_an_accepted_candidate_equals_a_fed_token(reference):
    testing.assert_accepted_column_equals_fed(reference, PROMPT, CANDIDATES)


def test_a_batch_equals_single_rows(reference):
    testing.assert_batched_equals_single(reference, PROMPTS, CANDIDATES)


def test_rollback_then_replay_equals_a_fresh_state(reference):
    testing.assert_rollback_replays(reference, PROMPT, [5, 44, 29, 6, 7], [9, 8], CANDIDATES)


def test_forked_rows_do_not_see_each_other(reference):
    testing.assert_forks_are_independent(reference, PROMPTS, CANDIDATES)


def test_joined_states_equal_separate_ones(reference):
    testing.assert_joined_states_equal_separate(reference, PROMPTS[:2], PROMPTS[2:], CANDIDATES)


@torch.inference_mode()
def test_rows_selected_between_scoring_and_choosing_keep_their_copies(frozen, rad, method):
    batch = frozen.batch(PROMPTS)
    state, fresh = computed_by(method, rad).start(), computed_by(method, rad).start()
    state.prefill(batch.ids, batch.mask)
    candidates = torch.tensor([CANDIDATES] * 3)
    state.rewards(candidates)
    state.select(torch.tensor([2, 0]))
    state.advance(torch.tensor([CANDIDATES[1], CANDIDATES[3]]), torch.tensor([1, 3]))
    chosen = frozen.batch([[*PROMPTS[2], CANDIDATES[1]], [*PROMPTS[0], CANDIDATES[3]]])
    fresh.prefill(chosen.ids, chosen.mask)
    torch.testing.assert_close(state.rewards(candidates[:2]), fresh.rewards(candidates[:2]), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_whole_vocabulary_is_refused(frozen, rad, method):
    state, batch = computed_by(method, rad).start(), frozen.batch(PROMPTS)
    state.prefill(batch.ids, batch.mask)
    with pytest.raises(InvalidSetting, match="finite top_k"):
        state.rewards(None)
