import pytest
import torch

from tiny import tiny_reward
from trimtab import testing
from trimtab.engines import trace
from trimtab.engines.base import Request
from trimtab.engines.settings import Sampling
from trimtab.engines.torch import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.frozen.cache import LAST
from trimtab.lm import LanguageModel

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


@pytest.fixture(scope="module")
def lm(llama):
    return LanguageModel(llama)


class Counter:
    """Counts the forwards of a module."""

    def __init__(self, module):
        self.calls = 0
        self._handle = module.register_forward_hook(self._count)

    def _count(self, *_):
        self.calls += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._handle.remove()


@pytest.mark.parametrize("layers", [2, 3])
def test_a_frozen_trunk_on_the_steered_model_adds_no_forward(llama, lm, layers):
    """Count every layer's forwards: steering by the model's own hidden state runs none beyond plain generation."""
    reward = tiny_reward(llama, "q", "frozen", layers=layers, bos_token_id=None)
    assert reward.reads(llama.model) == (LAST if layers == 3 else 2)
    with (
        Counter(llama.model) as whole,
        Counter(reward.network.trunk) as trunk,
        Counter(llama.model.model.layers[0]) as layer,
    ):
        lm.generate(PROMPTS, [reward.toward(5.0), None, reward.away(2.0)], max_new_tokens=6, top_k=5, seed=0)
    assert (whole.calls, trunk.calls, layer.calls) == (6, 0, 6)


@pytest.mark.parametrize("layers", [2, 3])
def test_reading_the_hosts_state_steers_as_an_own_trunk_does(llama, lm, layers, monkeypatch):
    reward = tiny_reward(llama, "q", "frozen", layers=layers, bos_token_id=None)
    options = {"max_new_tokens": 8, "top_k": 5, "seed": 0, "n": 2}
    steers = [reward.toward(5.0), None, reward.away(2.0)]
    hosted = lm.generate(PROMPTS, steers, **options)
    monkeypatch.setattr(type(reward), "reads", lambda self, model: None)
    own = lm.generate(PROMPTS, steers, **options)
    assert [[g.token_ids for g in row] for row in hosted] == [[g.token_ids for g in row] for row in own]


def test_an_arm_costs_one_forward_a_token_and_a_rad_one_of_k(llama, lm):
    for head in "qv":
        reward = tiny_reward(llama, head)
        with Counter(reward.network.trunk) as trunk:
            lm.generate(PROMPTS, reward.toward(5.0), max_new_tokens=6, top_k=5, seed=0)
        assert trunk.calls == {"q": 6, "v": 7}[head]  # the prompt, then one a token; RAD also scores the first


def test_samples_share_the_prompts_forward(llama, lm):
    with Counter(llama.model) as whole:
        written = lm.generate("w1 w2 w3", n=5, max_new_tokens=4, seed=0)
    assert whole.calls == 4
    assert len({tuple(g.token_ids) for g in written}) > 1
    alone = lm.generate("w1 w2 w3", n=2, max_new_tokens=4, seed=0)
    assert [g.token_ids for g in alone] == [g.token_ids for g in written[:2]]


def test_trunk_weights_are_the_models_own(llama):
    for head in "qv":
        trunk = tiny_reward(llama, head).network.trunk
        ours = trunk.layers[0].self_attn.q_proj.base_layer.weight
        assert ours.data_ptr() == llama.model.model.layers[0].self_attn.q_proj.weight.data_ptr()
        assert trunk.embed_tokens.weight.data_ptr() == llama.model.model.embed_tokens.weight.data_ptr()


def test_steering_leaves_the_model_alone(llama, lm):
    before = {name: weight.clone() for name, weight in llama.model.state_dict().items()}
    lm.generate(PROMPTS, tiny_reward(llama, "q").toward(5.0), max_new_tokens=4)
    after = llama.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_eos_is_a_candidate_and_ends_the_text(llama, lm, monkeypatch):
    plain = lm.generate("w1 w2", temperature=0, max_new_tokens=6)
    end = plain.token_ids[2]
    monkeypatch.setitem(llama.__dict__, "eos_token_ids", frozenset([end]))
    ended = lm.generate("w1 w2", temperature=0, max_new_tokens=6)
    assert ended.finish_reason == "eos"
    assert ended.token_ids == plain.token_ids[: plain.token_ids.index(end) + 1]


def test_rows_that_end_early_are_dropped_without_changing_the_others(llama, lm, monkeypatch):
    reward = tiny_reward(llama, "v")
    steers = [reward.toward(4.0), None, reward.away(4.0)]
    options = {"max_new_tokens": 10, "top_k": 8, "seed": 5}
    plain = lm.generate(PROMPTS, steers, **options)
    end = plain[0].token_ids[1]
    monkeypatch.setitem(llama.__dict__, "eos_token_ids", frozenset([end]))
    ended = lm.generate(PROMPTS, steers, **options)
    assert ended[0].finish_reason == "eos"
    for before, after in zip(plain, ended, strict=True):
        cut = before.token_ids.index(end) + 1 if end in before.token_ids else len(before.token_ids)
        assert after.token_ids == before.token_ids[:cut]


@pytest.mark.parametrize("poll", [1, 3, 8])
def test_polling_less_often_changes_nothing(llama, poll, monkeypatch):
    monkeypatch.setitem(llama.__dict__, "eos_token_ids", frozenset(range(4, 14)))
    engine = TorchEngine(llama)
    requests = [Request([10 + i, 20], tiny_reward(llama, "q").toward(2.0), i) for i in range(6)]
    written: dict[int, list[int]] = {}
    reasons = {}
    for block in engine.blocks(requests, 1, 11, Sampling(top_k=8), (), poll):
        for row, choices in block.choices().items():
            written.setdefault(row, []).extend(choice.token_id for choice in choices)
        reasons |= block.ended
    expected = engine.sample(requests, 1, 11, Sampling(top_k=8))
    assert [written[row] for row in range(6)] == [of_prompt[0].token_ids for of_prompt in expected]
    assert [reasons[row] for row in range(6)] == [of_prompt[0].finish_reason for of_prompt in expected]


def test_score_equals_a_forward_over_the_whole_text(llama, lm):
    prefixes, choices = [[10, 11, 12], [20]], [[[5], [6, 7, 8]], [[9, 9]]]
    found = lm.engine.score(prefixes, choices)
    for prefix, of_prefix, scores in zip(prefixes, choices, found, strict=True):
        for choice, score in zip(of_prefix, scores.tolist(), strict=True):
            logits = llama.model(torch.tensor([[*prefix, *choice]]), use_cache=False).logits[0].double().log_softmax(-1)
            expected = sum(logits[len(prefix) - 1 + i, token].item() for i, token in enumerate(choice))
            assert score == pytest.approx(expected, abs=1e-4)


def test_the_context_bounds_the_text(lm):
    long = " ".join(["w1"] * 60)
    reward = tiny_reward(lm.frozen, "q")
    assert len(lm.generate(long, max_new_tokens=20, seed=0).token_ids) == 4
    assert len(lm.generate(long, reward.toward(1.0), max_new_tokens=20, seed=0).token_ids) == 3  # BOS takes a place


def test_learned_positions_reach_the_end_of_the_context():
    from tiny import tiny_lm

    gpt2 = tiny_lm("gpt2")
    for head in "qv":
        written = LanguageModel(gpt2).generate(
            " ".join(["w1"] * 60), tiny_reward(gpt2, head).toward(1.0), top_k=4, seed=0
        )
        assert len(written.token_ids) == 3


def test_bad_requests_are_refused_before_anything_runs(llama, lm):
    reward = tiny_reward(llama, "q")
    rad = tiny_reward(llama, "v")
    with Counter(llama.model) as whole:
        for arguments, error in [
            (("", None), InvalidPrompt),
            ((" ".join(["w1"] * 64), None), InvalidPrompt),
            (("w1", [None, None]), InvalidSetting),
        ]:
            with pytest.raises(error):
                lm.generate(*arguments)
        for options in (
            {"top_k": 65},
            {"top_k": 0},
            {"n": 0},
            {"max_new_tokens": 0},
            {"temperature": -1},
            {"chat": True},
        ):
            with pytest.raises(InvalidSetting):
                lm.generate("w1", **options)
        with pytest.raises(InvalidSetting, match="RAD"):
            lm.generate("w1", rad.toward(1.0), top_k=None)
        with pytest.raises(InvalidSetting, match="beta"):
            reward.toward(float("inf"))
    assert whole.calls == 0


def test_a_reward_of_another_vocabulary_is_refused(llama, lm):
    stranger = tiny_reward(llama, "q", tokenizer_fingerprint="0123456789abcdef")
    with pytest.raises(RewardMismatch, match="0123456789abcdef"):
        lm.generate("w1", stranger.toward(1.0))


def test_two_rewards_of_one_name_are_told_apart(llama, lm):
    one, other = tiny_reward(llama, "q", seed=1), tiny_reward(llama, "q", seed=2)
    written = lm.generate("w1 w2", one.toward(1.0) + other.toward(1.0), max_new_tokens=2, seed=0)
    assert list(written.trace[0].rewards) == ["tiny-q:kind", "tiny-q:calm", "tiny-q#2:kind", "tiny-q#2:calm"]


def test_a_wide_trace_keeps_the_best_and_the_chosen(lm, monkeypatch):
    monkeypatch.setattr(trace, "TRACE_WIDTH", 6)
    wide = lm.generate("w1 w2", top_k=None, max_new_tokens=5, seed=0)
    for token in wide.trace:
        assert len(token.choice.candidates) == 6
        assert int(token.choice.candidates[token.choice.column]) == token.token_id


@pytest.mark.slow
def test_the_laws_hold_on_smollm2(smollm2, tmp_path):
    frozen = smollm2.frozen
    texts = ["The new neighbours are", "In 2019,", "She opened the door and"]
    prompts = [frozen.encode(text) for text in texts]
    candidates = [260, 284, 5125, 1165, 2]
    for head in "qv":
        reward = tiny_reward(frozen, head, layers=4)
        testing.assert_cached_equals_recomputed(reward, prompts[0], [338, 260, 2], candidates, tolerance=2e-3)
        testing.assert_batched_equals_single(reward, prompts, candidates, tolerance=2e-3)
        testing.assert_kept_column_equals_fed(reward, prompts[1], candidates[:2], tolerance=2e-3)
        testing.assert_padding_changes_nothing(reward, prompts[0], candidates, tolerance=2e-3)
        testing.assert_rollback_replays(reward, prompts[0], [338, 260], [284], candidates, tolerance=2e-3)
        testing.assert_forks_are_independent(reward, prompts, candidates, tolerance=2e-3)
        testing.assert_save_load_identical(reward, frozen, prompts[0], tmp_path / head)
        options = {"max_new_tokens": 6, "seed": 1}
        testing.assert_zero_beta_is_plain(smollm2, reward, texts, **options)
        testing.assert_halves_add_up(smollm2, reward, 6.0, texts, **options)
        testing.assert_constant_changes_nothing(smollm2, reward, 3.0, texts, **options)
        testing.assert_seeded_ignores_batch(smollm2, [reward.toward(5.0), None, reward.away(3.0)], texts, **options)
    testing.assert_candidates_equal_vocabulary(
        tiny_reward(frozen, "q", layers=4), prompts[0], candidates, tolerance=2e-3
    )
    testing.assert_host_cache_rewinds(frozen, prompts[0], [338, 260, 2], tolerance=2e-3)
    testing.assert_greedy_equals_transformers(smollm2, texts, 12)


@pytest.mark.slow
def test_a_bfloat16_model_is_steered_too(smollm2):
    import trimtab

    lm = trimtab.load("smollm2", dtype=torch.bfloat16)
    for name in ("sentiment", "sentiment-rad"):
        reward = trimtab.reward(name, lm)
        assert reward.base is lm.frozen
        half = reward.score(["What a wonderful film", "What a dreadful mess"])
        whole = trimtab.reward(name, smollm2).score(["What a wonderful film", "What a dreadful mess"])
        torch.testing.assert_close(half, whole, atol=0.1, rtol=0)
        assert lm.generate("The food was", reward.toward(20), max_new_tokens=4, seed=0).text
