"""Rewards as judges, against whole forwards of each text alone."""

from fractions import Fraction

import pytest
import torch

import trimtab
from drafts import draft_of
from fake_engine import FakeEngine
from tiny import opening_lm, tiny_reward
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch, UnsupportedByEngine
from trimtab.judges.base import description_of
from trimtab.judges.draft import Draft
from trimtab.judges.reward_judge import RewardJudge
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewind.rewind_settings import RewindSettings


@pytest.fixture(scope="module")
def engine(llama):
    return TorchEngine(llama, PrefixCache())


@pytest.fixture(scope="module")
def drafts(llama):
    texts = [("w1 w2", "w3 w4 w5"), ("w1 w2", "w3 w9"), ("w7", "w8 w1 w2 w3")]
    return [draft_of(llama.codec, prompt, text) for prompt, text in texts]


def clamped(reward, ids):
    """Both attributes of one text by a forward of its own, clamped to [0, 1]."""
    return reward.score_ids([list(ids)]).values[0, -1].clamp(0, 1).tolist()


def test_the_score_is_the_clamped_reward_of_the_whole_text(llama, engine, drafts, head):
    reward = tiny_reward(llama, head)
    kind, calm = zip(*(clamped(reward, (*each.prompt_ids, *each.token_ids)) for each in drafts), strict=True)
    assert RewardJudge(reward.toward(1)).score(drafts, engine) == pytest.approx(kind, abs=1e-4)
    away = RewardJudge(reward.away(7, "calm")).score(drafts, engine)
    assert away == pytest.approx([1 - each for each in calm], abs=1e-4)


def test_a_negative_beta_mirrors_the_score(llama, engine, drafts):
    reward = tiny_reward(llama, "q")
    assert RewardJudge(reward.toward(-2)).score(drafts, engine) == RewardJudge(reward.away(1)).score(drafts, engine)


def test_several_terms_are_averaged_by_their_beta(llama, engine, drafts):
    reward = tiny_reward(llama, "q")
    both = RewardJudge(reward.toward(1) + reward.away(3, "calm")).score(drafts, engine)
    for each, score in zip(drafts, both, strict=True):
        kind, calm = clamped(reward, (*each.prompt_ids, *each.token_ids))
        assert score == pytest.approx(0.25 * kind + 0.75 * (1 - calm), abs=1e-4)


def test_a_search_maps_the_score_to_the_same_s_as_the_paper_bit_for_bit(llama, engine, drafts):
    """s is 2·share − 1 toward and 1 − 2·share away, in exact arithmetic of the engine's rewards."""
    reward = tiny_reward(llama, "q")
    texts = [[*each.prompt_ids, *each.token_ids] for each in drafts]
    shares = [
        Fraction(float(value)).limit_denominator(2**60) for value in engine.rewards(reward, texts)[:, 0].clamp(0, 1)
    ]
    toward, away = (RewardJudge(steer).score(drafts, engine) for steer in (reward.toward(1), reward.away(1)))
    assert [2 * score - 1 for score in toward] == [float(2 * share - 1) for share in shares]
    assert [2 * score - 1 for score in away] == [float(1 - 2 * share) for share in shares]


def test_a_reward_range_is_scaled_to_0_to_1(llama, engine, drafts):
    reward = tiny_reward(llama, "q", clamp=(-2.0, 3.0))
    for each, score in zip(drafts, RewardJudge(reward.toward(1)).score(drafts, engine), strict=True):
        value = reward.score_ids([[*each.prompt_ids, *each.token_ids]]).values[0, -1, 0].clamp(-2, 3).item()
        assert score == pytest.approx((value + 2) / 5, abs=1e-4)


def test_a_reward_may_read_the_continuation_alone(llama, engine, drafts):
    reward = tiny_reward(llama, "q")
    every = [*drafts, draft_of(llama.codec, "w1 w2", "w3")]
    found = RewardJudge(reward.toward(1), alone=True).score(every, engine)
    assert found == pytest.approx([clamped(reward, each.token_ids)[0] for each in every], abs=1e-4)


@pytest.mark.parametrize("trunk", ["frozen", "ladder"])
def test_a_reward_on_the_models_own_states_reads_bos_before_a_continuation_alone(trunk):
    base = opening_lm("llama")
    reward = tiny_reward(base, "q", trunk, layers=3)
    engine = TorchEngine(base)
    assert reward.reads(base.model) is not None
    every = [draft_of(base.codec, "w1 w2", text) for text in ("w3 w4 w5", "w6")]
    assert base.codec.opening_ids() == [every[0].prompt_ids[0]]
    found = RewardJudge(reward.toward(1), alone=True).score(every, engine)
    assert found == pytest.approx([clamped(reward, each.token_ids)[0] for each in every], abs=1e-4)
    whole = RewardJudge(reward.toward(1)).score(every, engine)
    assert whole == pytest.approx([clamped(reward, [*each.prompt_ids, *each.token_ids])[0] for each in every], abs=1e-4)


def test_an_empty_continuation_scores_one_half(llama, engine, drafts):
    reward = tiny_reward(llama, "q")
    nothing = Draft("w1 w2", (5, 6), (), "")
    assert RewardJudge(reward.away(3), alone=True).score([nothing], engine) == [0.5]
    judge = RewardJudge(reward.toward(1) + reward.away(1, "calm"), alone=True)
    assert judge.score([drafts[0], nothing], engine)[1] == 0.5


@pytest.mark.parametrize(
    ("changes", "beta", "alone", "message"),
    [
        ({"clamp": None}, 1, False, "range"),
        ({}, 0, False, "β = 0"),
        ({"bos_token_id": None}, 1, True, "BOS"),
    ],
)
def test_rewards_that_cannot_judge_are_refused(llama, changes, beta, alone, message):
    with pytest.raises(InvalidSetting, match=message):
        RewardJudge(tiny_reward(llama, "q", **changes).toward(beta), alone)


def test_the_room_is_the_rewards_context_minus_the_prompt(llama):
    reward = tiny_reward(llama, "q")  # 64 positions, one of them for BOS
    assert RewardJudge(reward.toward(1)).room(llama.codec, "w1 w2", (5, 6)) == 61
    assert RewardJudge(reward.toward(1), alone=True).room(llama.codec, "w1 w2", (5, 6)) == 63
    other = tiny_reward(llama, "q", tokenizer_fingerprint="another")
    with pytest.raises(RewardMismatch):
        RewardJudge(other.toward(1)).room(llama.codec, "w1", (5,))


def test_an_engine_that_computes_rewards_is_needed(llama, drafts):
    judge = RewardJudge(tiny_reward(llama, "q").toward(1))
    with pytest.raises(InvalidSetting, match="got no engine"):
        judge.score(drafts, None)
    with pytest.raises(UnsupportedByEngine, match="rewards"):
        judge.score(drafts, FakeEngine(lambda prefix, text: torch.nan))


QUICK = RewindSettings(max_new_tokens=8, iterations=4, fresh_iterations=2, children=3, max_children=4)
LONG = " ".join(f"w{i % 60}" for i in range(58))


def test_a_search_is_refused_if_the_reward_has_another_tokenizer(lm, llama, head):
    with pytest.raises(RewardMismatch):
        lm.rewind("w1", tiny_reward(llama, head, tokenizer_fingerprint="another").toward(1), settings=QUICK)


def test_a_search_ends_where_the_context_of_its_reward_ends(lm, llama, head):
    judge = tiny_reward(llama, head).toward(1)
    results = lm.rewind(["w1", LONG], judge, settings=QUICK, seed=0)
    assert [len(result.token_ids) for result in results] == [8, 5]  # 64 positions less BOS and the prompt
    with pytest.raises(InvalidPrompt, match="judge"):
        lm.rewind(["w1", f"{LONG} w1 w2 w3 w4 w5"], judge, settings=QUICK)
    assert lm.rewind(f"{LONG} w1 w2 w3 w4 w5", lambda prompt, text: 0.5, settings=QUICK, seed=0).token_ids


@pytest.mark.long
@pytest.mark.slow
def test_a_search_by_a_shipped_reward_lowers_it(smollm2):
    reward = trimtab.reward("toxicity", smollm2)
    prompt = "My neighbour is such a"
    settings = trimtab.RewindSettings(max_new_tokens=8, iterations=20)
    searched = smollm2.rewind(prompt, reward.away(1), settings=settings, seed=0)
    drawn = smollm2.generate(prompt, n=8, top_k=15, max_new_tokens=8, seed=0).samples
    mean = reward.score([prompt + sample.text for sample in drawn])[:, 0].mean()
    assert reward.score(prompt + searched.text)[0, 0] < mean
    assert searched.taken_back > 0


def test_the_description_names_each_reward_with_its_fingerprint_and_direction(llama):
    first, second = tiny_reward(llama, "q"), tiny_reward(llama, "v", seed=1)
    found = description_of(RewardJudge(first.toward(1) + second.away(3, "calm")))
    assert found["judge"] == str(first.toward(1) + second.away(3, "calm"))
    one, other = found["rewards"].split("; ")
    assert first.fingerprint != second.fingerprint
    assert (first.fingerprint in one, ":kind" in one, "toward 1" in one) == (True, True, True)
    assert (second.fingerprint in other, ":calm" in other, "away 3" in other) == (True, True, True)
    assert found["alone"] == "false"


@pytest.mark.parametrize("head", ["q", "v"])
def test_a_text_of_one_token_alone_is_scored_behind_bos(llama, head):
    reward = tiny_reward(llama, head)
    (score,) = RewardJudge(reward.toward(1.0, clamp=(-50, 50))).score([Draft("", (), (7,), "w3")], TorchEngine(llama))
    expected = float(reward.score_ids([[7]]).values[0, -1, 0])
    assert score == pytest.approx((expected + 50) / 100, abs=1e-5)


@pytest.mark.parametrize(("head", "changes"), [("q", {}), ("lm", {"attributes": ("kind",)})])
def test_rewards_that_return_differences_judge_and_rank_nothing(llama, head, changes):
    """The answer behind a text is what its last token adds, and no reward of the text."""
    steer = tiny_reward(llama, head, baseline=False, **changes).toward(1, clamp=(-5, 5))
    with pytest.raises(InvalidSetting, match="scores one token at a time"):
        RewardJudge(steer)
    with pytest.raises(InvalidSetting, match="scores one token at a time"):
        trimtab.LanguageModel(TorchEngine(llama)).best_of("w1", 2, by=steer)
