"""Ranked drafts, against separate forward calls."""

import pytest

from tiny import tiny_reward
from trimtab import errors
from trimtab.best_of import rank, without_eos
from trimtab.data.json_text import dump_json, parse_json
from trimtab.engines.base import Continuation
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.generation import Generation
from trimtab.judges.load import as_judge
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.unit_tests import UnitTests
from trimtab.testing import separate_rewards


def test_drafts_are_ranked_by_the_reward_of_the_whole_text(frozen, family_lm, head):
    reward = tiny_reward(frozen, head)
    by = reward.toward(2.0) + reward.away(1.0, "calm")
    best = family_lm.best_of("w1 w2", 6, by, max_new_tokens=4, seed=1)
    drafts = family_lm.generate("w1 w2", n=6, max_new_tokens=4, seed=1).samples
    assert {draft.text for draft in drafts} == {draft.text for draft in best.drafts}
    expected = []
    for draft in drafts:
        ids = [*frozen.codec.encode_prompt("w1 w2"), *draft.token_ids]
        ids = ids[:-1] if ids[-1] in frozen.codec.eos_token_ids else ids
        kind, calm = separate_rewards(reward, ids[:-1], ids[-1:])[0].tolist()
        expected.append(2 * kind - calm)
    assert list(best.scores) == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
    assert best.text == drafts[max(range(6), key=expected.__getitem__)].text


def test_drafts_of_several_prompts_are_those_of_each_prompt_alone(llama, lm):
    reward = tiny_reward(llama, "q")
    both = lm.best_of(["w1 w2", "w3"], 3, reward, max_new_tokens=4, seed=1)
    alone = lm.best_of("w3", 3, reward, max_new_tokens=4, seed=1)
    assert both[1].text == alone.text
    assert all(one.scores == tuple(sorted(one.scores, reverse=True)) for one in both)


def test_a_reward_ranks_as_a_steer_toward_its_first_attribute(llama, lm):
    reward = tiny_reward(llama, "q")
    by_reward = lm.best_of("w3", 3, reward, max_new_tokens=4, seed=1)
    by_steer = lm.best_of("w3", 3, reward.toward(1.0, "kind"), max_new_tokens=4, seed=1)
    assert [draft.text for draft in by_reward.drafts] == [draft.text for draft in by_steer.drafts]
    assert by_reward.scores == by_steer.scores


def test_drafts_are_written_with_the_given_steer_and_params(llama, lm):
    steer, params = tiny_reward(llama, "v").away(5.0), [{"seed": 1, "top_k": 3}, {"seed": 2, "top_k": 9}]
    reward = tiny_reward(llama, "q")
    both = lm.best_of(
        ["w1", "w2"], 4, reward, [steer, None], [SamplingParams(**each) for each in params], max_new_tokens=3
    )
    for prompt, ranked, of_prompt, each in zip(["w1", "w2"], both, [steer, None], params, strict=True):
        written = lm.generate(prompt, of_prompt, n=4, max_new_tokens=3, **each)
        assert sorted(draft.text for draft in ranked.drafts) == sorted(sample.text for sample in written.samples)


def test_an_empty_draft_is_ranked_by_the_reward_of_the_prompt(llama, lm):
    reward = tiny_reward(llama, "q")
    draft = lm.generate("w1 w2", max_new_tokens=1, seed=0)
    draft.token_ids = [2]  # EOS at once
    (best,) = rank(lm.engine, reward.toward(1.0), [[10, 11]], [[draft]])
    assert best.scores[0] == pytest.approx(separate_rewards(reward, [10], [11])[0, 0].item(), abs=1e-5)


def test_a_stop_string_is_not_ranked(llama, lm):
    reward = tiny_reward(llama, "q")
    draft = Generation(llama.codec, "w1 w2", [Continuation((), "stop")], ["w9"])
    draft.token_ids = [12, 14, 13, 15]  # "w8 w10 w9 w11"
    assert draft.visible_ids == [12, 14]
    (best,) = rank(lm.engine, reward.toward(1.0), [[10, 11]], [[draft]])
    assert best.scores[0] == pytest.approx(separate_rewards(reward, [10, 11, 12], [14])[0, 0].item(), abs=1e-5)


def test_a_text_of_one_token_that_a_reward_cannot_read_counts_with_the_middle_of_its_range(llama, lm):
    reward = tiny_reward(llama, "q", bos_token_id=None, clamp=(-1.0, 2.0))
    empty, other = (lm.generate("w1", max_new_tokens=2, seed=seed) for seed in (0, 1))
    empty.token_ids, other.token_ids = [2], [14, 15]
    (best,) = rank(lm.engine, reward.away(2.0), [[10]], [[empty, other]])
    expected = {id(empty): -1.0, id(other): -2 * separate_rewards(reward, [10, 14], [15])[0, 0].item()}
    assert list(best.scores) == pytest.approx([expected[id(draft)] for draft in best.drafts], abs=1e-5)
    with pytest.raises(InvalidPrompt, match="text of 1 tokens"):
        lm.engine.rewards(reward, [[10]])


def test_equal_drafts_keep_the_order_in_which_they_were_written(llama, lm):
    drafts = [Generation(llama.codec, "w1", [Continuation((), "length")]) for _ in range(3)]
    (best,) = rank(lm.engine, tiny_reward(llama, "q").toward(1.0), [[5, 6]], [drafts])
    assert [id(draft) for draft in best.drafts] == [id(draft) for draft in drafts]


def test_only_an_end_token_at_the_end_is_left_out(llama):
    assert without_eos([5, 2, 6], llama.codec) == [5, 2, 6]
    assert without_eos([5, 2], llama.codec) == [5]
    assert without_eos([], llama.codec) == []


def test_bad_arguments_are_refused_before_any_draft_is_written(llama, lm):
    before = lm.engine.usage
    with pytest.raises(InvalidSetting, match="n=0"):
        lm.best_of("w1", 0, by=tiny_reward(llama, "q"))
    with pytest.raises(InvalidSetting, match="got temperature=0 with 3 drafts to rank"):
        lm.best_of("w1", 3, by=tiny_reward(llama, "q"), temperature=0)
    with pytest.raises(RewardMismatch, match="0123456789abcdef"):
        lm.best_of("w1", 2, by=tiny_reward(llama, "q", tokenizer_fingerprint="0123456789abcdef"))
    assert lm.engine.usage == before


def test_the_reward_that_chose_is_recorded(lm, llama):
    first, second = tiny_reward(llama, "q"), tiny_reward(llama, "v", seed=1)
    ranked = lm.best_of("w1 w2", 2, first.away(2.0), steer=second.toward(1.0), max_new_tokens=2, seed=0)
    record = parse_json(dump_json(ranked.provenance))
    (by,), (steer,) = record["by"], record["steer"]
    assert (by["fingerprint"], by["direction"], by["beta"]) == (first.fingerprint, "away", 2.0)
    assert steer["fingerprint"] == second.fingerprint
    assert ranked.provenance.items() >= ranked.drafts[0].provenance.items()


def test_a_draft_has_the_length_that_its_judge_can_read(llama, lm):
    """The judge's reward puts BOS before a text, so it reads one token less than the model."""
    judge, most = RewardJudge(tiny_reward(llama, "q").toward(1)), llama.context_length
    prompt = " ".join(["w1"] * (most - 4))
    ranked = lm.best_of(prompt, 3, by=judge, max_new_tokens=12, seed=0)
    assert max(len(draft.token_ids) for draft in ranked.drafts) == 3


def test_prompts_that_a_judge_cannot_read_are_refused_before_any_draft_is_written(llama, lm, monkeypatch):
    judge, long = RewardJudge(tiny_reward(llama, "q").toward(1)), " ".join(["w1"] * (llama.context_length - 1))
    monkeypatch.setattr(TorchEngine, "sample", lambda self, requests: pytest.fail("drafts were written"))
    with pytest.raises(errors.InvalidPrompt, match="judge"):
        lm.best_of(["w1", long], 3, by=judge)
    with pytest.raises(errors.InvalidPrompt, match="no tests"):
        lm.best_of(["w1", "w2"], 3, by=UnitTests({"w1": "assert True"}))


def test_the_scores_are_those_of_the_judge(lm):
    """Scores that a float32 cannot tell apart rank drafts, too."""
    drafts = [draft.text for draft in lm.generate("w1", n=4, seed=0, max_new_tokens=4).samples]
    scores = {text: 1 - 1e-9 * place for place, text in enumerate(drafts)}
    judge = as_judge(lambda prompt, text: scores[text])
    ranked = lm.best_of("w1", 4, by=judge, seed=0, max_new_tokens=4)
    assert ranked.scores == tuple(sorted(scores.values(), reverse=True))
    assert [draft.text for draft in ranked.drafts] == drafts
