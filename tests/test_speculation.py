"""Speculation changes nothing: over heads, trunks, families, settings and batches, whatever is drafted."""

from dataclasses import replace

import pytest
import torch

from draft_heads import tiny_draft
from known_drafts import KnownDrafts
from known_rewards import TokenTable
from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab import testing
from trimtab.engines.base import DecodeUsage, Request
from trimtab.engines.draft import Draft
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.draft_lm import LMProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.steering.steer import Steer, Term

PREFIXES = [[10, 11, 12, 13, 14, 10, 11, 12], [20, 21], [30, 31, 32, 33, 34]]
PARAMS = SamplingParams(top_k=6, max_new_tokens=9, seed=3, temperature=0.7)
WRONG = {"right": 0.0, "mixed": 0.25, "wrong": 1.0}


@pytest.fixture(scope="module")
def qwen2():
    return tiny_lm("qwen2", seed=5)


def requests_of(steers, settings=({},)):
    """Return a request for each prefix, with steers and settings in turn."""
    return [
        Request(prefix, replace(PARAMS, seed=row, **settings[row % len(settings)]), steers[row % len(steers)])
        for row, prefix in enumerate(PREFIXES)
    ]


def assert_law(base, requests, wrong, steps_before=None, cache=None, seed=0):
    """Check drafts of a share of wrong tokens; return how many of them were accepted."""
    drafts = KnownDrafts(TorchEngine(base), requests, wrong, seed)
    engine = TorchEngine(base, cache, proposers={"known": drafts})
    found = testing.assert_speculation_changes_nothing(engine, requests, "known", steps_before)
    return sum((each.usage for of in found for each in of), start=DecodeUsage())


def steers_of(base, kind):
    """Return the steers of a kind of reward."""
    own = tiny_reward(base, "q", "frozen", seed=3, bos_token_id=None)
    arm, rad, ladder = tiny_reward(base, "q", seed=1), tiny_reward(base, "v", seed=2), tiny_ladder(base)
    return {
        "plain": [None],
        "own state": [own.toward(6.0), own.away(3.0, "calm")],
        "ladder": [ladder.toward(6.0), None],
        "own trunk": [arm.toward(6.0), arm.away(3.0, "calm")],
        "V-head": [rad.toward(4.0), None],
        "several": [arm.toward(4.0) + own.away(2.0), None, rad.toward(2.0) + ladder.toward(3.0), own.toward(5.0)],
    }[kind]


def test_drafts_change_no_text_on_any_family(frozen, eager):
    usage = assert_law(frozen, requests_of(steers_of(frozen, "several")), WRONG["mixed"])
    assert 0 < usage.accepted < usage.drafted


@pytest.mark.parametrize("kind", ["plain", "own state", "ladder", "own trunk", "V-head"])
def test_drafts_change_no_text_with_any_reward(qwen2, kind, eager):
    usage = assert_law(qwen2, requests_of(steers_of(qwen2, kind)), WRONG["mixed"])
    assert 0 < usage.accepted < usage.drafted


@pytest.mark.parametrize("drafts", WRONG)
@pytest.mark.parametrize("rows", [1, 3])
def test_right_and_wrong_drafts_change_no_text(qwen2, drafts, rows, eager):
    requests = requests_of(steers_of(qwen2, "several"))[:rows]
    assert_law(qwen2, requests, WRONG[drafts])


SETTINGS = {
    "greedy": {"temperature": 0},
    "hot": {"temperature": 3.0},
    "whole vocabulary": {"top_k": None},
    "nucleus": {"top_k": None, "top_p": 0.8},
    "both": {"top_k": 10, "top_p": 0.6},
    "two candidates": {"top_k": 2},
    "samples": {"n": 3},
    "budget": {"max_kl": 0.1},
    "penalty": {"repetition_penalty": 1.5},
    "ngrams": {"no_repeat_ngram_size": 2},
    "stop": {"stop": ("w9 ", "w18 ", "7")},
}


@pytest.mark.parametrize("steps_before", [None, 1])
def test_rows_of_all_settings(qwen2, steps_before, eager):
    rows = [
        Request([5 + row, 9, *range(20, 20 + row % 3)], replace(PARAMS, seed=row, **settings), steer)
        for row, (settings, steer) in enumerate(zip(SETTINGS.values(), steers_of(qwen2, "own trunk") * 6, strict=False))
    ]
    assert_law(qwen2, rows, WRONG["mixed"], steps_before)


def test_a_gate_on_entropy_is_that_of_each_place(qwen2, eager):
    arm, own = tiny_reward(qwen2, "q"), tiny_reward(qwen2, "q", "frozen", bos_token_id=None)
    steers = [arm.toward(8.0, min_entropy=2.0), own.toward(8.0, min_entropy=1.0) + arm.away(2.0, "calm")]
    assert_law(qwen2, requests_of(steers), WRONG["mixed"])


@pytest.mark.parametrize("drafts", ["right", "mixed"])
def test_a_text_may_end_inside_a_draft(qwen2, drafts, eager, monkeypatch):
    monkeypatch.setattr(qwen2.codec, "eos_token_ids", frozenset(range(4, 14)))
    requests = requests_of(steers_of(qwen2, "own state"))
    requests = [*requests, *(replace(each, until="579") for each in requests_of([None]))]
    found = assert_law(qwen2, requests, WRONG[drafts])
    assert found.accepted


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_drafts_end_with_the_context(family, eager):
    """One row reaches the last position, of which GPT-2 has no other, while drafts of the others are longer."""
    base = tiny_lm(family)
    ladder = tiny_ladder(base).toward(3.0)
    requests = [
        Request([10] * length, replace(PARAMS, max_new_tokens=20, seed=length), steer)
        for length, steer in ((60, None), (50, ladder), (57, tiny_reward(base, "v").toward(1.0)))
    ]
    assert_law(base, requests, WRONG["mixed"])


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_rows_join_rows_that_are_drafted(family, eager):
    base = tiny_lm(family)
    assert_law(base, requests_of(steers_of(base, "several")), WRONG["mixed"], steps_before=2)


@pytest.mark.parametrize("kind", ["ladder", "own trunk"])
def test_drafts_change_no_text_behind_a_prefix_cache(qwen2, kind, eager):
    cache, requests = PrefixCache(), requests_of(steers_of(qwen2, kind))
    for seed in (0, 1):
        assert_law(qwen2, requests, WRONG["mixed"], cache=cache, seed=seed)


def test_a_cancelled_request_leaves_the_texts_of_drafted_rows(qwen2, eager):
    requests = requests_of(steers_of(qwen2, "several"))
    drafts = KnownDrafts(TorchEngine(qwen2), requests, WRONG["mixed"])
    engine = TorchEngine(qwen2, proposers={"known": drafts})
    batch, written = engine.start_batch(), {row: [] for row in range(3)}
    drafted = [replace(each, params=replace(each.params, speculate="known")) for each in requests]
    numbers = batch.add(drafted, engine.limits(drafted))

    def step():
        for chunk in batch.step():
            written[chunk.request] += [choice.token_id for choice in chunk.choices]

    step()
    step()
    batch.cancel(numbers[1])
    while batch.active:
        step()
    for row in (0, 2):
        assert written[row] == engine.sample([requests[row]])[0][0].token_ids


def proposer_of(base, kind):
    """Return a random head; or another model, close to the one that it drafts for."""
    if kind == "head":
        return HeadProposer(tiny_draft(base), base)
    near = tiny_lm(base.name.removeprefix("tiny-"), seed=5 if base.name == "tiny-qwen2" else 0)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in near.model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return LMProposer(near, base)


def drafted_by(base, kind, requests, steps_before=None, cache=None):
    """Check the law for a head or another model; return what the texts cost."""
    engine = TorchEngine(base, cache, proposers={"draft": proposer_of(base, kind)})
    found = testing.assert_speculation_changes_nothing(engine, requests, "draft", steps_before)
    return sum((each.usage for of in found for each in of), start=DecodeUsage())


@pytest.mark.parametrize("kind", ["head", "model"])
@pytest.mark.parametrize("reward", ["plain", "own state", "ladder", "own trunk", "V-head", "several"])
def test_a_head_and_another_model_change_no_text(qwen2, kind, reward, eager):
    usage = drafted_by(qwen2, kind, requests_of(steers_of(qwen2, reward)))
    assert usage.drafted
    assert usage.accepted or kind == "head"


def test_drafts_are_steered_as_the_text_is(qwen2, eager):
    """A reward that is the same in every place: a model that drafts for itself is then always right."""
    table = torch.randn(qwen2.vocabulary_size, generator=torch.Generator().manual_seed(0))
    steer = Steer((Term(TokenTable(table), 0, beta=4.0),))
    requests = [Request([10, 11 + row], replace(PARAMS, seed=row), steer) for row in range(3)]
    engine = TorchEngine(qwen2, proposers={"draft": LMProposer(qwen2, qwen2)})
    found = testing.assert_speculation_changes_nothing(engine, requests, "draft")
    usage = sum((each.usage for of in found for each in of), start=DecodeUsage())
    assert usage.acceptance == 1
    assert usage.drafted > 10


@pytest.mark.parametrize("kind", ["head", "model"])
@pytest.mark.parametrize("steps_before", [None, 1])
def test_a_head_and_another_model_draft_rows_of_all_settings(qwen2, kind, steps_before, eager):
    rows = [
        Request([5 + row, 9, *range(20, 20 + row % 3)], replace(PARAMS, seed=row, **settings), steer)
        for row, (settings, steer) in enumerate(zip(SETTINGS.values(), steers_of(qwen2, "ladder") * 6, strict=False))
    ]
    assert drafted_by(qwen2, kind, rows, steps_before).accepted


@pytest.mark.parametrize("kind", ["head", "model"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_a_head_and_another_model_draft_on_any_family(family, kind, eager):
    base = tiny_lm(family)
    assert drafted_by(base, kind, requests_of(steers_of(base, "several")), steps_before=2).drafted


@pytest.mark.parametrize("kind", ["head", "model"])
def test_a_head_and_another_model_draft_to_the_end_of_the_context(kind, eager):
    base = tiny_lm("gpt2")
    requests = [Request([10] * length, replace(PARAMS, max_new_tokens=20, seed=length)) for length in (60, 50, 57)]
    assert drafted_by(base, kind, requests).drafted


@pytest.mark.parametrize("kind", ["head", "model"])
def test_a_head_and_another_model_draft_behind_a_prefix_cache(qwen2, kind, eager):
    cache, requests = PrefixCache(), requests_of(steers_of(qwen2, "ladder"))
    for _ in range(3):
        assert drafted_by(qwen2, kind, requests, cache=cache).drafted
        requests = [replace(each, prefix=[*each.prefix, 40, 41]) for each in requests]


def test_the_same_model_drafts_every_token(qwen2, eager):
    """The noise of draft and loop is the same, so a draft by the model itself is right, greedy and sampled."""
    engine = TorchEngine(qwen2, proposers={"draft": LMProposer(tiny_lm("qwen2", seed=5), qwen2)})
    requests = requests_of([None], [{"temperature": 0}, {"temperature": 2.0}, {"top_p": 0.7}])
    found = testing.assert_speculation_changes_nothing(engine, requests, "draft")
    for ((written,),) in zip(found, strict=True):
        assert written.finish_reason == "eos" or written.usage.accepted == written.usage.drafted > 0


def test_a_smaller_context_ends_the_drafts_of_another_model(qwen2, eager):
    small = tiny_lm("qwen2", seed=5)
    small.model.config.max_position_embeddings = 12
    engine = TorchEngine(qwen2, proposers={"draft": LMProposer(small, qwen2)})
    request = Request(PREFIXES[0][:4], replace(PARAMS, max_new_tokens=30, stop=()))
    ((written,),) = testing.assert_speculation_changes_nothing(engine, [request], "draft")
    assert written.usage.forwards > 10 or written.finish_reason == "eos"


@pytest.mark.parametrize("drafted", [True, False])
def test_rows_join_and_leave_when_the_context_of_another_model_is_full(drafted, monkeypatch):
    """Texts become too long for it while drafts are made, or while none pay and it has not read what was written."""
    length = max if drafted else (lambda longest: 0)
    monkeypatch.setattr("trimtab.engines.torch.speculation.draft_length", lambda rates, longest, *_: length(longest))
    monkeypatch.setattr("trimtab.engines.torch.speculation.draft_size", lambda worths, cost, deep, most: most)
    monkeypatch.setattr("trimtab.engines.draft_length.Balance.affords", lambda self, lost: True)
    base, small = tiny_lm("gpt2"), tiny_lm("gpt2", seed=5)
    small.model.config.n_positions = 12
    positions = small.model.transformer.wpe
    positions.weight = torch.nn.Parameter(positions.weight[:12].clone())
    engine = TorchEngine(base, proposers={"draft": LMProposer(small, base)})
    requests = [
        Request([10] * prompt, replace(PARAMS, max_new_tokens=new, seed=prompt, stop=(), top_k=5))
        for prompt, new in ((4, 18), (3, 6), (20, 9), (5, 4))
    ]
    testing.assert_speculation_changes_nothing(engine, requests, "draft", steps_before=5)


def test_what_drafts_may_go_wrong_and_no_text_changes(qwen2, eager, monkeypatch):
    """A model that still reads what was rejected drafts worse; the law is of the loop alone."""
    plain = drafted_by(qwen2, "model", requests_of([None]))
    monkeypatch.setattr("trimtab.engines.torch.draft_lm.LMState._retract", lambda self, tokens: None)
    assert drafted_by(qwen2, "model", requests_of([None])).accepted < plain.accepted


def test_lookup_changes_no_text_and_saves_calls():
    """The greedy text of this model soon repeats itself."""
    base = tiny_lm("gemma3")
    requests = requests_of([None, tiny_ladder(base).toward(1.0)], [{"temperature": 0, "max_new_tokens": 40}, {}])
    found = testing.assert_speculation_changes_nothing(TorchEngine(base), requests)
    assert found[0][0].usage.forwards < 20
    assert all(each.usage.forwards <= len(each.token_ids) for of in found for each in of)


def test_drafts_that_are_wrong_are_given_up(qwen2):
    request = Request(PREFIXES[0], replace(PARAMS, max_new_tokens=40))
    right, wrong = (assert_law(qwen2, [request], share) for share in (WRONG["right"], WRONG["wrong"]))
    assert right.forwards < 15
    assert wrong.drafted < 25


def test_a_reward_that_cannot_score_drafts_is_written_token_by_token(qwen2, eager):
    plain = testing.engine_laws.ShiftedReward(tiny_reward(qwen2, "q"), 1.0)
    steer = testing.engine_laws.Steer((testing.engine_laws.Term(plain, 0, 3.0, clamp=None),))
    assert assert_law(qwen2, requests_of([steer]), WRONG["right"]).drafted == 0


def test_nothing_is_drafted_where_texts_may_not_depend_on_shapes(qwen2):
    requests = requests_of([None], [{"temperature": 0}])
    engine = TorchEngine(qwen2, batch_invariant=True)
    found = testing.assert_speculation_changes_nothing(engine, requests)
    assert not any(each.usage.drafted for of in found for each in of)


def test_an_unknown_proposer_is_refused(lm):
    with pytest.raises(InvalidSetting, match="got speculate='magic', expected one of: lookup"):
        lm.generate("w1", speculate="magic")


def test_the_law_fails_if_rejected_tokens_stay(qwen2, eager, monkeypatch):
    monkeypatch.setattr(KVCache, "retract", lambda self, tokens: None)
    with pytest.raises(AssertionError):
        assert_law(qwen2, requests_of([None]), WRONG["mixed"])


def test_the_law_fails_if_a_wrong_token_is_accepted(qwen2, eager, monkeypatch):
    monkeypatch.setattr(Draft, "right", lambda self, chosen: range(len(self.tokens)))
    with pytest.raises(AssertionError):
        assert_law(qwen2, requests_of([None]), WRONG["mixed"])


def test_the_law_fails_if_the_right_branch_is_not_moved(qwen2, eager, monkeypatch):
    monkeypatch.setattr(KVCache, "arrange", lambda self, order, new: None)
    with pytest.raises(AssertionError):
        assert_law(qwen2, requests_of([None], [{"max_new_tokens": 30}]), WRONG["mixed"])


@pytest.mark.parametrize("kind", ["plain", "own state", "ladder", "own trunk"])
def test_drafts_branch_where_the_model_alone_reads_them(qwen2, kind, eager):
    requests = requests_of(steers_of(qwen2, kind))
    drafts = KnownDrafts(TorchEngine(qwen2), requests, WRONG["mixed"])
    testing.assert_speculation_changes_nothing(TorchEngine(qwen2, proposers={"known": drafts}), requests, "known")
    assert (drafts.trees > 0) == (kind != "own trunk")


@pytest.mark.parametrize("setting", [{"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 2}])
def test_constrained_rows_have_chains(qwen2, setting, eager):
    requests = requests_of([None], [setting])
    drafts = KnownDrafts(TorchEngine(qwen2), requests, WRONG["mixed"])
    testing.assert_speculation_changes_nothing(TorchEngine(qwen2, proposers={"known": drafts}), requests, "known")
    assert not drafts.trees


@pytest.mark.parametrize("kind", ["plain", "ladder"])
def test_trees_change_no_text_of_any_row(frozen, kind, eager):
    requests = requests_of(steers_of(frozen, kind), [{}, {"n": 3}, {"temperature": 0}])
    usage = assert_law(frozen, requests, WRONG["mixed"], steps_before=1)
    assert 0 < usage.accepted < usage.drafted


@torch.inference_mode()
def test_drafts_that_are_right_cost_few_calls(qwen2, eager):
    """The prompt's call gives the first token. The next call checks 7 tokens and gives 8."""
    requests = [Request(PREFIXES[0], PARAMS)]
    drafts = KnownDrafts(TorchEngine(qwen2), requests, WRONG["right"])
    drafts.random.random = lambda: 0.9
    engine = TorchEngine(qwen2, proposers={"known": drafts})
    ((written,),) = testing.assert_speculation_changes_nothing(engine, requests, "known")
    assert (written.usage.forwards, written.usage.drafted, written.usage.accepted) == (2, 7, 7)
    assert written.usage.acceptance == 1
