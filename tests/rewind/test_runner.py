"""Searches: the laws, a language with a harmful branch, a constant judge, budgets, refusals."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from draft_heads import tiny_draft
from forward_counter import ForwardCounter
from tiny import tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewind.rewind_settings import Budget, RewindSettings

SMALL = RewindSettings(max_new_tokens=8, iterations=12, fresh_iterations=4, children=4, max_children=6, top_k=6)
PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


def likes_odd(prompt, text):
    """Return the share of odd words: 1 for all, 0 for none, a half for an empty text."""
    words = text.split()
    return 0.5 + sum(0.5 if int(word[1:]) % 2 else -0.5 for word in words if word[0] == "w") / max(len(words), 1)


@pytest.mark.parametrize("similarity", ["lm", "off"])
def test_a_search_alone_equals_a_search_beside_others(family_lm, similarity):
    testing.assert_search_ignores_company(
        family_lm, PROMPTS, judge=likes_odd, settings=SMALL, similarity=similarity, seed=3, stop=["w50"]
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", ["lookup", "draft"])
def test_a_search_that_drafts_is_the_same_search(llama, lm, kind, eager):
    drafting = LanguageModel(TorchEngine(llama, proposers={"draft": HeadProposer(tiny_draft(llama), llama)}))
    settings = replace(SMALL, max_new_tokens=14, draft_tokens=12)
    plain = lm.rewind(PROMPTS, judge=likes_odd, settings=settings, seed=3)
    found = drafting.rewind(PROMPTS, judge=likes_odd, settings=replace(settings, speculate=kind), seed=3)
    for one, other in zip(found, plain, strict=True):
        assert one.token_ids == other.token_ids
        assert [(branch.text, branch.visits) for commit in one.commits for branch in commit.branches] == [
            (branch.text, branch.visits) for commit in other.commits for branch in commit.branches
        ]


@pytest.mark.long
def test_a_search_that_widens_and_shares_scores_equals_one_beside_others(lm):
    """Every score is below a half, and all branches count as similar."""
    settings = replace(SMALL, iterations=24, variance=100.0, similarity_threshold=-1.0)
    options = {"judge": lambda prompt, text: likes_odd(prompt, text) / 2, "settings": settings, "seed": 3}
    found = lm.rewind(PROMPTS[0], **options)
    assert any(len(commit.branches) > SMALL.children for commit in found.commits)
    apart = lm.rewind(PROMPTS[0], **{**options, "settings": replace(settings, similarity_threshold=1.1)})
    assert apart.as_dict() != found.as_dict()
    testing.assert_search_ignores_company(lm, PROMPTS, **options)


@pytest.mark.long
@pytest.mark.parametrize("head", ["q", "v"])
def test_a_steered_search_alone_equals_a_search_beside_others(llama, lm, head):
    reward = tiny_reward(llama, head)
    testing.assert_search_ignores_company(
        lm, PROMPTS, judge=reward.toward(1), steer=reward.toward(5.0), settings=SMALL, seed=3
    )


def test_the_same_seed_gives_the_same_search_and_another_seed_another(lm):
    first, again, other = (lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=seed) for seed in (1, 1, 2))
    assert [r.as_dict() for r in first] == [r.as_dict() for r in again] != [r.as_dict() for r in other]


def test_searched_texts_score_higher_than_sampled_ones(lm):
    seeds = range(3)
    searched = [likes_odd("", r.text) for s in seeds for r in lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=s)]
    sampled = [likes_odd("", g.text) for s in seeds for g in lm.generate(PROMPTS, top_k=6, max_new_tokens=8, seed=s)]
    assert sum(searched) / len(searched) > sum(sampled) / len(sampled) + 0.15


def harmful_branch(after_good="w8"):
    """Return a language in which w0 is nine times as likely as w1; w9 (bad) follows w0, and w8 follows w1."""
    lm = tiny_lm("llama")
    table = torch.full((64, 64), -20.0)
    word = {f"w{i}": i + 4 for i in range(60)}
    table[:, word["w5"]] = 0.0
    table[word["w5"], [word["w0"], word["w1"], word["w5"]]] = torch.tensor([2.2, 0.0, -20.0])
    table[word["w0"], word["w9"]] = 10.0
    table[word["w1"], word["w8"]] = 10.0
    table[word["w9"], word["w9"]] = 10.0
    table[word["w8"], word.get(after_good, 2)] = 10.0
    forward = lm.model.forward

    def by_table(input_ids, **options):
        output = forward(input_ids=input_ids, **options)
        keep = options.get("logits_to_keep", 1)
        shown = input_ids[:, -keep:] if isinstance(keep, int) else input_ids[:, keep]
        output.logits = table[shown]
        return output

    lm.model.forward = by_table
    return LanguageModel(TorchEngine(lm))


def bad_ending(prompt, text):
    return 0.0 if "w9" in text else 1.0


def test_a_search_leaves_the_more_likely_harmful_branch():
    lm = harmful_branch()
    settings = RewindSettings(max_new_tokens=6, iterations=30, children=4, max_children=6, top_k=6)
    sampled = lm.generate("w5", n=10, top_k=6, max_new_tokens=6, seed=0)
    assert sum("w9" in generation.text for generation in sampled.samples) >= 7
    assert "w9" in lm.generate("w5", temperature=0, max_new_tokens=6).text
    for similarity in ("off", "lm"):
        searched = lm.rewind("w5", bad_ending, settings=settings, similarity=similarity, seed=0)
        assert searched.text.split() == ["w1"] + ["w8"] * 5
        tried = {branch.text: branch for branch in searched.commits[0].branches}
        assert not tried["w0"].kept
        assert tried["w0"].value < 0 < tried["w1"].value
        assert searched.taken_back >= tried["w0"].judged > 0


@pytest.mark.long
def test_with_a_constant_judge_the_most_likely_branches_are_kept(lm):
    """Scores of a half leave the priors, and with uniform=0 these are the model's own probabilities."""
    settings = replace(SMALL, uniform=0.0, iterations=60, lengths=(1, 1, 1, 1))
    searched = lm.rewind(PROMPTS, lambda prompt, text: 0.5, settings=settings, seed=0, similarity="off")
    greedy = lm.generate(PROMPTS, temperature=0, top_k=None, max_new_tokens=8)
    assert [r.token_ids for r in searched] == [g.token_ids for g in greedy]
    branches = searched[0].commits[0].branches
    total = sum(branch.visits for branch in branches)
    for branch in branches:
        assert branch.visits / total == pytest.approx(branch.prior, abs=2 / total)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_a_budget_of_iterations_ends_the_search_with_the_best_draft(lm, count):
    searched = lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=0, budget=Budget(max_iterations=count))
    for result in searched:
        assert result.text
        assert result.iterations <= count
        assert (result.finish_reason == "budget") == (result.iterations == count)
    alone = lm.rewind(PROMPTS[0], likes_odd, settings=SMALL, seed=0, budget=Budget(max_iterations=count))
    assert (alone.token_ids, alone.iterations) == (searched[0].token_ids, searched[0].iterations)


def test_one_iteration_gives_the_draft_of_the_prompt(lm):
    (result,) = lm.rewind([PROMPTS[0]], likes_odd, settings=SMALL, seed=0, budget=Budget(max_iterations=1))
    (commit,) = result.commits
    assert commit.text == result.text


@pytest.mark.parametrize("budget", [Budget(max_encoded=40), Budget(max_seconds=1e-9)])
def test_a_spent_budget_of_tokens_or_seconds_ends_all_searches(lm, budget):
    for result in lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=0, budget=budget):
        assert result.finish_reason == "budget"
        assert result.text


@pytest.mark.long
def test_ctrl_c_ends_each_search_with_its_best_draft(lm):
    turns = []

    def stop_in_the_middle(turn):
        turns.append(turn.usage)
        if all(len(search.commits) >= 1 for search in turn.searches):
            raise KeyboardInterrupt

    longer = replace(SMALL, max_new_tokens=24)
    whole = lm.rewind(PROMPTS, likes_odd, settings=longer, seed=0)
    cut = lm.rewind(PROMPTS, likes_odd, settings=longer, seed=0, progress=stop_in_the_middle)
    assert {result.finish_reason for result in cut} == {"interrupted"}
    for full, part in zip(whole, cut, strict=True):
        assert part.text
        kept = len(part.commits) - 1  # the last one is the best draft
        assert 1 <= kept < len(full.commits)
        assert [commit.text for commit in part.commits[:kept]] == [commit.text for commit in full.commits[:kept]]
    assert all(later.tokens > earlier.tokens for earlier, later in pairwise(turns))


def test_a_text_ends_at_eos_a_stop_string_or_the_limit():
    settings = RewindSettings(max_new_tokens=6, iterations=30, children=4, max_children=6, top_k=6)
    lm = harmful_branch()
    ended = lm.rewind("w5", bad_ending, settings=settings, seed=0)
    assert (ended.finish_reason, len(ended.token_ids)) == ("length", 6)
    ended = lm.rewind("w5", bad_ending, settings=settings, seed=0, stop="w8")
    assert (ended.finish_reason, ended.text.strip()) == ("stop", "w1")
    lm = harmful_branch(after_good="<eos>")
    ended = lm.rewind("w5", bad_ending, settings=settings, seed=0)
    assert (ended.finish_reason, ended.text, ended.token_ids) == ("eos", "w1 w8", [5, 12, 2])


def test_the_trace_is_of_the_steered_model(llama, lm):
    """The base log-probability of each token equals that of a forward call over the whole text."""
    reward = tiny_reward(llama, "q")
    result = lm.rewind(PROMPTS[0], reward.toward(1), steer=reward.toward(5.0), settings=SMALL, seed=0)
    ids = llama.codec.encode_prompt(PROMPTS[0])
    for token in result.trace:
        logprobs = llama.model(torch.tensor([ids]), use_cache=False).logits[0, -1].log_softmax(-1)
        assert token.choice.base_logprob == pytest.approx(float(logprobs[token.token_id]), abs=1e-4)
        assert set(token.rewards) == {"tiny-q:kind", "tiny-q:calm"}
        ids.append(token.token_id)


def test_a_prefix_cache_makes_a_second_search_cheaper_and_changes_no_text(llama):
    lm = LanguageModel(TorchEngine(llama, PrefixCache()))
    first = lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=0)
    again = lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=0)
    assert [r.as_dict() for r in first] == [r.as_dict() for r in again]
    assert again[0].usage.tokens < first[0].usage.tokens


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judge": "nobody"}, "expected self"),
        ({"judge": "toxicity=-1"}, "reward.away"),
        ({"judge": "self:unheard"}, "harmlessness, requests, sentiment, truthfulness"),
        ({"prompts": []}, "no prompts"),
        ({"seed": [1, 2]}, "got 2 seeds, expected one, or one for each of 3 prompts"),
        ({"settings": replace(SMALL, max_children=65)}, "max_children=65, expected at most the vocabulary size, 64"),
        ({"settings": replace(SMALL, top_k=65)}, "got top_k=65"),
    ],
)
def test_a_bad_argument_is_refused_before_any_forward_call(lm, options, message):
    given = {"prompts": PROMPTS, "judge": likes_odd, "settings": SMALL, **options}
    with ForwardCounter(lm.model) as whole, pytest.raises(errors.InvalidSetting, match=message):
        lm.rewind(**given)
    assert whole.calls == 0


def test_a_reward_without_a_direction_is_refused_as_a_judge(llama, lm):
    with pytest.raises(errors.InvalidSetting, match="toward"):
        lm.rewind("w1", tiny_reward(llama, "q"), settings=SMALL)


@pytest.mark.parametrize("wrong", [float("nan"), 2.0, -0.5, None, "good"])
def test_an_error_about_an_out_of_range_score_names_the_judge(lm, wrong):
    def likes(prompt, text):
        return wrong

    with pytest.raises(errors.InvalidData, match=f"got {wrong!r} from the judge 'likes', expected a number from 0"):
        lm.rewind("w1", likes, settings=SMALL)


def test_a_budget_that_is_not_a_number_is_refused():
    with pytest.raises(errors.InvalidSetting, match="max_seconds=nan"):
        Budget(max_seconds=float("nan"))


def test_no_stop_string_may_be_said_by_none(lm):
    settings = RewindSettings(iterations=2, fresh_iterations=1, max_new_tokens=3)
    judge = lambda prompt, text: 0.5  # noqa: E731
    texts = {lm.rewind("w1 w2", judge, settings=settings, seed=0, stop=stop).text for stop in (None, (), [])}
    assert len(texts) == 1


@pytest.mark.parametrize("scores", [[], [0.5] * 40, 0.5, None])
def test_a_judge_that_does_not_score_each_draft_is_named(lm, scores):
    judge = SimpleNamespace(name="mine", score=lambda drafts, engine: scores)
    with pytest.raises(errors.InvalidData, match="the judge 'mine'"):
        lm.rewind("w1 w2", judge, settings=RewindSettings(iterations=2, fresh_iterations=1, max_new_tokens=3))


def test_each_prompt_may_have_its_own_seed(lm):
    together = lm.rewind(PROMPTS, likes_odd, settings=SMALL, seed=[7, 8, 9])
    alone = [
        lm.rewind(prompt, likes_odd, settings=SMALL, seed=seed) for prompt, seed in zip(PROMPTS, (7, 8, 9), strict=True)
    ]
    assert [result.token_ids for result in together] == [result.token_ids for result in alone]


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(llama, lm):
    """The reward puts BOS before the text, so 63 tokens fill its context of 64."""
    prompt, reward = " ".join(["w1"] * 63), tiny_reward(llama, "q")
    assert len(lm.rewind(prompt, likes_odd, settings=SMALL, seed=0).token_ids) == 1
    for options in ({"steer": reward.toward(1)}, {"judge": reward.toward(1)}):
        with pytest.raises(errors.InvalidPrompt, match=r"63 tokens, which fills the context.*starts 'w1 w1"):
            lm.rewind(prompt, **{"judge": likes_odd, "settings": SMALL, **options})


def test_a_steer_of_another_vocabulary_is_refused(llama, lm):
    stranger = tiny_reward(llama, "q", tokenizer_fingerprint="0123456789abcdef")
    with pytest.raises(errors.RewardMismatch, match="0123456789abcdef"):
        lm.rewind("w1", likes_odd, steer=stranger.toward(1.0), settings=SMALL)
