"""The steering of a batch: a step against a hand computation, hosted rewards, the names of rewards, joining."""

import pytest
import torch

from known_rewards import TokenTable
from tiny import tiny_reward
from trimtab import errors
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.guide import Guide
from trimtab.engines.torch.loop import DecodeLoop
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST
from trimtab.steering.rule import entropy_of, top_candidates
from trimtab.steering.steer import Steer, Term
from trimtab.testing import WordCodec, WordReward, separate_rewards

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]
CPU = torch.device("cpu")


@pytest.mark.parametrize("layers", [2, 3])
def test_a_reward_on_the_models_hidden_state_steers_as_one_with_its_own_trunk(llama, lm, layers, monkeypatch):
    reward = tiny_reward(llama, "q", "frozen", layers=layers, bos_token_id=None)
    options = {"max_new_tokens": 8, "top_k": 5, "seed": 0, "n": 2}
    steers = [reward.toward(5.0), None, reward.away(2.0)]
    hosted = lm.generate(PROMPTS, steers, **options)
    monkeypatch.setattr(type(reward), "reads", lambda self, model: None)
    own = lm.generate(PROMPTS, steers, **options)
    for found, expected in zip(hosted, own, strict=True):
        assert [each.token_ids for each in found.samples] == [each.token_ids for each in expected.samples]


def test_two_rewards_of_one_name_are_numbered_in_the_trace(llama, lm):
    one, other = tiny_reward(llama, "q", seed=1), tiny_reward(llama, "q", seed=2)
    written = lm.generate("w1 w2", one.toward(1.0) + other.toward(1.0), max_new_tokens=2, seed=0)
    assert list(written.trace[0].rewards) == ["tiny-q:kind", "tiny-q:calm", "tiny-q#2:kind", "tiny-q#2:calm"]


def raw_logits(lm, prefix):
    return lm.model(torch.tensor([prefix]), use_cache=False).logits[0, -1].double()


def steered_by_hand(lm, prefix, terms, k):
    """Return z' of the k best tokens in float64, one candidate and one forward call at a time."""
    z = raw_logits(lm, prefix)
    probabilities = z.softmax(0)
    entropy = -(probabilities * probabilities.log()).sum().item()
    steered = {}
    for token in sorted(range(len(z)), key=lambda place: -z[place])[:k]:
        steered[token] = z[token].item()
        for reward, column, beta, away, (low, high), min_entropy in terms:
            r = separate_rewards(reward, prefix, [token])[0, column].double().item()
            clamped = min(max(r, low), high)
            if entropy >= min_entropy:
                steered[token] += beta * ((high + low - clamped) if away else clamped)
    return steered


@pytest.fixture(scope="module")
def rewards(llama):
    return tiny_reward(llama, "q", seed=1), tiny_reward(llama, "v", seed=2)


def test_steered_logits_of_a_mixed_batch_equal_a_hand_computation(llama, rewards):
    arm, rad = rewards
    prefixes = [[10, 11, 12], [20, 21], [30, 31, 32, 33], [40, 41]]
    terms = [
        [(arm, 0, 7.0, False, (0.0, 1.0), 0.0)],
        [],
        [(arm, 1, 3.0, True, (-0.5, 0.5), 0.0), (rad, 0, 2.5, False, (0.0, 1.0), 0.0)],
        [(rad, 1, 4.0, True, (0.0, 1.0), 0.0)],
    ]
    steers = [
        arm.toward(7.0),
        None,
        arm.away(3.0, "calm", clamp=(-0.5, 0.5)) + rad.toward(2.5),
        rad.away(4.0, "calm"),
    ]
    params = SamplingParams(top_k=6, seed=0)
    loop = DecodeLoop(llama, [Request(prefix, params, steer) for prefix, steer in zip(prefixes, steers, strict=True)])
    with torch.inference_mode():
        for _ in range(3):
            step = loop.step()
            for row, prefix in enumerate(prefixes):
                expected = steered_by_hand(llama, prefix, terms[row], 6)
                found = dict(zip(step.candidates.ids[row].tolist(), step.steered[row].tolist(), strict=True))
                assert found == pytest.approx(expected, abs=1e-3)
            prefixes = [[*prefix, token] for prefix, token in zip(prefixes, step.tokens.tolist(), strict=True)]


def test_rows_that_join_and_leave_keep_the_logits_of_a_hand_computation(llama, rewards):
    """Two loops are joined after one and two steps; then a row leaves. Each loop has a reward that the other lacks."""
    arm, rad = rewards
    own = tiny_reward(llama, "q", "frozen", seed=3, bos_token_id=None)
    first = [([10, 11, 12], arm.toward(7.0), [(arm, 0, 7.0, False, (0.0, 1.0), 0.0)]), ([20, 21], None, [])]
    second = [
        ([30, 31, 32, 33], own.away(3.0), [(own, 0, 3.0, True, (0.0, 1.0), 0.0)]),
        ([40], rad.toward(4.0) + arm.toward(2.0, "calm"), None),
    ]
    second[1] = (*second[1][:2], [(rad, 0, 4.0, False, (0.0, 1.0), 0.0), (arm, 1, 2.0, False, (0.0, 1.0), 0.0)])
    params = SamplingParams(top_k=6, seed=0)
    rows = [[*prefix] for prefix, _, _ in (*first, *second)]
    terms = [of_row for _, _, of_row in (*first, *second)]
    loops = [DecodeLoop(llama, [Request(p, params, s) for p, s, _ in part]) for part in (first, second)]
    with torch.inference_mode():
        for loop, first_row, steps in ((loops[0], 0, 1), (loops[1], 2, 2)):
            for _ in range(steps):
                for row, token in enumerate(loop.step().tokens.tolist(), start=first_row):
                    rows[row].append(token)
        loops[0].join(loops[1])
        for kept in (None, [3, 0, 2]):
            if kept:
                loops[0].keep(kept)
                rows, terms = [rows[row] for row in kept], [terms[row] for row in kept]
            step = loops[0].step()
            for row, prefix in enumerate(rows):
                expected = steered_by_hand(llama, prefix, terms[row], 6)
                found = dict(zip(step.candidates.ids[row].tolist(), step.steered[row].tolist(), strict=True))
                assert found == pytest.approx(expected, abs=1e-3)
            rows = [[*prefix, token] for prefix, token in zip(rows, step.tokens.tolist(), strict=True)]


def test_min_entropy_compares_with_the_base_distribution(llama, rewards):
    arm, _ = rewards
    prefix = [10, 11, 12]
    entropy = float(entropy_of(raw_logits(llama, prefix)[None].float()))
    for threshold, beta in ((entropy * 0.9, 7.0), (entropy * 1.1, 0.0)):
        request = Request(prefix, SamplingParams(top_k=6, seed=0), arm.toward(7.0, min_entropy=threshold))
        with torch.inference_mode():
            step = DecodeLoop(llama, [request]).step()
        expected = steered_by_hand(llama, prefix, [(arm, 0, beta, False, (0.0, 1.0), 0.0)], 6)
        found = dict(zip(step.candidates.ids[0].tolist(), step.steered[0].tolist(), strict=True))
        assert found == pytest.approx(expected, abs=1e-3)


def test_rewards_of_rows_that_a_reward_does_not_steer_are_nan():
    codec = WordCodec(["good", "bad"])
    reward = WordReward(codec, {"good": 1.0})
    guide = Guide([None, reward.toward(2.0)], CPU)
    guide.prefill(PromptBatch.pad([[1], [1]], 0, CPU))
    logits = torch.zeros(2, 3)
    steered, table = guide.steer(top_candidates(logits, None, None), logits)
    assert steered.tolist() == [[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    assert list(table) == ["words:worth"]
    assert table["words:worth"][0].isnan().all()
    assert table["words:worth"][1].tolist() == [0.0, 1.0, 0.0]


def test_a_reward_keeps_its_name_when_another_of_that_name_joins_or_leaves():
    codec = WordCodec(["good", "bad"])
    first, second, third = (WordReward(codec, {"good": worth}) for worth in (1.0, 2.0, 3.0))
    guide = Guide([first.toward(1.0), second.toward(1.0)], CPU)
    guide.prefill(PromptBatch.pad([[1], [1]], 0, CPU))
    guide.select(torch.tensor([1]))
    other = Guide([third.toward(1.0)], CPU)
    other.prefill(PromptBatch.pad([[1]], 0, CPU))
    guide.join(other)
    _, table = guide.steer(top_candidates(torch.zeros(2, 3), None, None), torch.zeros(2, 3))
    assert table["words#2:worth"][0].tolist() == [0.0, 2.0, 0.0]
    assert table["words:worth"][1].tolist() == [0.0, 3.0, 0.0]


@torch.inference_mode()
def test_a_reward_of_the_models_own_state_leaves_with_its_last_row(llama):
    own = tiny_reward(llama, "q", "frozen", layers=3, bos_token_id=None)
    host = KVCache(llama.model, [LAST])
    batch = PromptBatch.pad([[10, 11], [20]], 0, CPU)
    host.feed(batch.ids, batch.mask)
    guide = Guide([own.toward(2.0), None], CPU, host)
    guide.prefill(batch)
    guide.select(torch.tensor([1]))
    host.select(torch.tensor([1]))
    _, table = guide.steer(top_candidates(torch.zeros(1, 64), 5, None), torch.zeros(1, 64))
    assert table == {}


def broken_words(worth):
    """Return a reward of the words "good" and "bad"; "bad" has this worth."""
    codec = WordCodec(["good", "bad"])
    return codec, WordReward(codec, {"good": 1.0, "bad": worth})


def steered_by(guide, rows, top_k=None):
    guide.prefill(PromptBatch.pad([[1]] * rows, 0, CPU))
    logits = torch.zeros(rows, 3)
    return guide.steer(top_candidates(logits, top_k, None), logits)


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("worth", [torch.nan, torch.inf, -torch.inf])
def test_a_reward_that_is_not_finite_is_an_error_that_names_it(worth, top_k):
    codec, reward = broken_words(worth)
    bad = codec.words.index("bad")
    with pytest.raises(errors.NonFiniteReward, match=rf"of 'words' in 'worth' for the token \(id {bad}\)"):
        steered_by(Guide([reward.toward(2.0)], CPU), 1, top_k)
    with pytest.raises(errors.NonFiniteReward, match=rf"token 'bad' \(id {bad}\)"):
        steered_by(Guide([None, reward.toward(2.0)], CPU, codec=codec), 2, top_k)


def test_a_deferred_check_marks_the_rows_that_use_the_reward():
    codec, broken = broken_words(torch.nan)
    sound = WordReward(codec, {"good": 1.0})
    steers = [sound.toward(1.0), None, broken.toward(1.0) + sound.toward(1.0), broken.toward(-1.0)]
    guide = Guide(steers, CPU, codec=codec, deferred=True)
    _, table = steered_by(guide, 4)
    candidates = top_candidates(torch.zeros(4, 3), None, None)
    assert guide.finite.tolist() == [True, True, False, False]
    fault = guide.fault(3, candidates, table)
    assert isinstance(fault, errors.NonFiniteReward)
    assert "of 'words' in 'worth' for the token 'bad'" in str(fault)


def test_a_reward_of_strength_0_must_be_finite_too():
    _, broken = broken_words(torch.nan)
    with pytest.raises(errors.NonFiniteReward):
        steered_by(Guide([broken.toward(0.0)], CPU), 1)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("top_k", "top_p"), [(None, None), (3, None), (None, 0.5)])
def test_logits_that_are_not_finite_are_found_whether_or_not_anything_steers(bad, top_k, top_p):
    logits = torch.arange(10.0).reshape(2, 5)
    logits[1, 2 if bad > 0 or bad != bad else slice(None)] = bad
    logits[0, 1] = -torch.inf  # a hard constraint is no fault
    candidates = top_candidates(logits, top_k, top_p)
    guide = Guide([None, None], CPU, deferred=True)
    guide.steer(candidates, logits)
    assert guide.finite.tolist() == [True, False]
    with pytest.raises(errors.NonFiniteLogits, match="logits from the language model"):
        Guide([None, None], CPU).steer(candidates, logits)


@pytest.mark.parametrize("top_k", [None, 5])
def test_a_broken_reward_says_nothing_in_rows_that_do_not_use_it(llama, top_k):
    """A reward on the model's own state answers for every row: 0 · NaN must not reach the others."""
    steer = Steer((Term(TokenTable([torch.nan] * llama.vocabulary_size), 0, beta=1.0),))
    guide, logits = hosted_guide(llama, [steer, None]), torch.randn(2, llama.vocabulary_size)
    candidates = top_candidates(logits, top_k, None)
    steered, _ = guide.steer(candidates, logits)
    assert guide.finite.tolist() == [False, True]
    assert torch.equal(steered[1], candidates.logits[1])


def hosted_guide(lm, steers):
    """A guide of rewards on the model's own state, one row for each steer."""
    host, batch = KVCache(lm.model, [LAST]), lm.batch([[5, 6]] * len(steers))
    guide = Guide(steers, CPU, host, deferred=True)
    host.feed(batch.ids, batch.mask)
    guide.prefill(batch)
    return guide
