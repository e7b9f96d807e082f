import pytest
import torch

import trimtab
from forward_counter import ForwardCounter
from tiny import tiny_lm, tiny_reward
from trimtab import testing
from trimtab.engines.base import Engine, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.language_model import LanguageModel
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.side_network import LAST
from trimtab.models.usage import Usage

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]
TEXTS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 20, 21], [5, 6, 7, 8, 9, 30], [40, 41, 42, 43, 44, 45, 46]]


@pytest.mark.parametrize("layers", [2, 3])
def test_steering_by_the_models_own_hidden_state_adds_no_forward_call(llama, lm, layers):
    """Every layer runs as often as in plain generation, and the reward's trunk never."""
    reward = tiny_reward(llama, "q", "frozen", layers=layers, bos_token_id=None)
    assert reward.reads(llama.model) == (LAST if layers == 3 else 2)
    with (
        ForwardCounter(llama.model) as whole,
        ForwardCounter(reward.network.trunk) as trunk,
        ForwardCounter(llama.model.model.layers[0]) as layer,
    ):
        lm.generate(PROMPTS, [reward.toward(5.0), None, reward.away(2.0)], max_new_tokens=6, top_k=5, seed=0)
    assert (whole.calls, trunk.calls, layer.calls) == (6, 0, 6)


@pytest.mark.parametrize(("head", "calls"), [("q", 6), ("v", 7)])
def test_a_reward_trunk_runs_once_per_token(llama, lm, head, calls):
    """An ARM runs on the prompt and on each token but the last; RAD also on the first candidates."""
    reward = tiny_reward(llama, head)
    with ForwardCounter(reward.prefix_encoder.trunk) as trunk:
        lm.generate(PROMPTS, reward.toward(5.0), max_new_tokens=6, top_k=5, seed=0)
    assert trunk.calls == calls


def test_samples_of_a_prompt_share_its_forward_call(llama, lm):
    with ForwardCounter(llama.model) as whole:
        written = lm.generate("w1 w2 w3", n=5, max_new_tokens=4, seed=0)
    assert whole.calls == 4
    assert len({tuple(sample.token_ids) for sample in written.samples}) > 1
    fewer = lm.generate("w1 w2 w3", n=2, max_new_tokens=4, seed=0)
    assert [sample.token_ids for sample in fewer.samples] == [sample.token_ids for sample in written.samples[:2]]


def test_steering_leaves_the_models_weights_unchanged(llama, lm):
    before = {name: weight.clone() for name, weight in llama.model.state_dict().items()}
    lm.generate(PROMPTS, tiny_reward(llama, "q").toward(5.0), max_new_tokens=4)
    after = llama.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_torch_engine_keeps_the_protocol(lm):
    assert isinstance(lm.engine, Engine)
    assert lm.engine.capabilities == {"score", "read", "rewards", "states"}


def test_the_context_limits_the_length_of_a_text(llama, lm):
    long = " ".join(["w1"] * 60)
    reward = tiny_reward(llama, "q")
    assert len(lm.generate(long, max_new_tokens=20, seed=0).token_ids) == 4
    assert len(lm.generate(long, reward.toward(1.0), max_new_tokens=20, seed=0).token_ids) == 3  # BOS takes a place


def test_a_model_with_learned_positions_writes_to_the_end_of_its_context():
    gpt2 = tiny_lm("gpt2")
    for head in "qv":
        steer = tiny_reward(gpt2, head).toward(1.0)
        written = LanguageModel(TorchEngine(gpt2)).generate(" ".join(["w1"] * 60), steer, top_k=4, seed=0)
        assert len(written.token_ids) == 3


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request([], SamplingParams(seed=0)), InvalidPrompt),
        (Request([5] * 64, SamplingParams(seed=0)), InvalidPrompt),
        (Request([5], SamplingParams(seed=0, top_k=65)), InvalidSetting),
    ],
)
def test_a_bad_request_is_refused_before_any_forward_call(llama, lm, request_, error):
    good = Request([5], SamplingParams(seed=0))
    with ForwardCounter(llama.model) as whole:
        with pytest.raises(error):
            lm.engine.sample([good, request_])
        with pytest.raises(error):
            next(iter(lm.engine.stream([good, request_])))
        with pytest.raises(InvalidSetting, match="no prompts"):
            lm.engine.sample([])
    assert whole.calls == 0


def test_rad_over_the_whole_vocabulary_is_refused_before_any_forward_call(llama, lm):
    rad = tiny_reward(llama, "v")
    with ForwardCounter(llama.model) as whole, pytest.raises(InvalidSetting, match="runs every candidate"):
        lm.generate("w1", rad.toward(1.0), top_k=None)
    assert whole.calls == 0


def test_a_reward_of_another_vocabulary_is_refused(llama, lm):
    stranger = tiny_reward(llama, "q", tokenizer_fingerprint="0123456789abcdef")
    with pytest.raises(RewardMismatch, match="0123456789abcdef"):
        lm.generate("w1", stranger.toward(1.0))


def test_a_request_without_a_seed_is_refused():
    with pytest.raises(InvalidSetting, match="without a seed"):
        Request([5], SamplingParams())


def test_the_description_names_the_model_its_weights_and_its_dtype(llama, lm):
    assert lm.engine.describe() == {
        "engine": "torch",
        "model": "tiny-llama",
        "base_fingerprint": llama.base_fingerprint,
        "weights_fingerprint": llama.weights_fingerprint,
        "config_fingerprint": llama.config_fingerprint,
        "tokenizer_fingerprint": llama.codec.fingerprint,
        "chat_template_fingerprint": llama.codec.chat_template_fingerprint,
        "dtype": "float32",
        "device": "cpu",
    }


def test_a_session_counts_its_own_usage_and_keeps_its_own_prefixes(llama):
    engine = TorchEngine(llama)
    session = engine.session()
    requests = [Request(TEXTS[0], SamplingParams(seed=0, max_new_tokens=3))]
    costs = []
    for _ in range(2):
        before = session.usage
        session.sample(requests)
        costs.append(session.usage - before)
    assert engine.usage == session.usage == Usage(8 + 2 + 1 + 2, 6)
    assert costs == [Usage(8 + 2, 3), Usage(1 + 2, 3)]  # the second prompt: its last token only


def test_sessions_of_an_engine_with_a_prefix_cache_share_it_and_count_apart(llama):
    engine = TorchEngine(llama, PrefixCache())
    requests = [Request(TEXTS[0], SamplingParams(seed=0, max_new_tokens=3))]
    sessions = [engine.session() for _ in range(2)]
    for session in sessions:
        session.sample(requests)
    assert [session.usage.tokens for session in sessions] == [8 + 2, 1 + 2]
    assert engine.usage.tokens == 8 + 2 + 1 + 2


@pytest.mark.parametrize("head", ["q", "v"])
def test_texts_from_an_empty_prefix_cache_equal_texts_without_one(llama, head):
    """The steered rows are the shorter ones: padding stands before all that the reward reads."""
    steer = tiny_reward(llama, head, bos_token_id=None).toward(5.0)
    params = [SamplingParams(top_k=5, max_new_tokens=6, seed=seed) for seed in (1, 2, 3)]
    requests = [
        Request(TEXTS[0], params[0]),
        Request(TEXTS[1], params[1], steer),
        Request(TEXTS[2][:4], params[2], steer),
    ]
    plain, cached = (TorchEngine(llama, cache).sample(requests) for cache in (None, PrefixCache()))
    assert [of[0].token_ids for of in cached] == [of[0].token_ids for of in plain]


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
@pytest.mark.parametrize("head", ["q", "v"])
def test_texts_from_a_filled_prefix_cache_equal_texts_without_one_and_cost_fewer_tokens(llama, head, trunk):
    steer = tiny_reward(llama, head, trunk, layers=3).toward(5.0)
    params = [SamplingParams(top_k=5, max_new_tokens=6, seed=seed) for seed in range(len(TEXTS))]
    requests = [Request(text[:4], each, steer) for text, each in zip(TEXTS, params, strict=True)]
    requests.append(Request(TEXTS[0][:4], SamplingParams(top_k=5, max_new_tokens=3, temperature=0, seed=9), steer))
    plain = TorchEngine(llama).sample(requests)
    engine = TorchEngine(llama, PrefixCache())
    costs = []
    for _ in range(2):
        before = engine.usage
        cached = engine.sample(requests)
        costs.append((engine.usage - before).tokens)
        assert [of[0].token_ids for of in cached] == [of[0].token_ids for of in plain]
    assert costs[1] < costs[0]
    longer = [
        Request((*asked.prefix, *of[0].token_ids), SamplingParams(top_k=5, max_new_tokens=4, seed=1), steer)
        for asked, of in zip(requests, plain, strict=True)
    ]
    again = [of[0].token_ids for of in engine.sample(longer)]
    assert again == [of[0].token_ids for of in TorchEngine(llama).sample(longer)]


@pytest.mark.long
@pytest.mark.slow
def test_the_laws_hold_on_smollm2(smollm2, tmp_path):
    base = smollm2.base
    texts = ["The new neighbours are", "In 2019,", "She opened the door and"]
    prompts = [base.codec.encode_prompt(text) for text in texts]
    candidates = [260, 284, 5125, 1165, 2]
    for head in "qv":
        reward = tiny_reward(base, head, layers=2)
        testing.assert_cached_equals_recomputed(reward, prompts[0], [338, 260, 2], candidates, tolerance=2e-3)
        testing.assert_batched_equals_single(reward, prompts, candidates, tolerance=2e-3)
        testing.assert_accepted_column_equals_fed(reward, prompts[1], candidates[:2], tolerance=2e-3)
        testing.assert_padding_changes_nothing(reward, prompts[0], candidates, tolerance=2e-3)
        testing.assert_rollback_replays(reward, prompts[0], [338, 260], [284], candidates, tolerance=2e-3)
        testing.assert_forks_are_independent(reward, prompts, candidates, tolerance=2e-3)
        testing.assert_joined_states_equal_separate(reward, prompts[:1], prompts[1:], candidates, tolerance=2e-3)
        testing.assert_save_load_identical(reward, base, prompts[0], tmp_path / head)
    reward, options = tiny_reward(base, "q", layers=2), {"max_new_tokens": 3, "seed": 1}
    testing.assert_zero_beta_is_plain(smollm2, reward, texts, **options)
    testing.assert_halves_add_up(smollm2, reward, 6.0, texts, **options)
    testing.assert_constant_changes_nothing(smollm2, reward, 3.0, texts, **options)
    testing.assert_seeded_ignores_batch(smollm2, [reward.toward(5.0), None, reward.away(3.0)], texts, **options)
    testing.assert_candidates_equal_vocabulary(reward, prompts[0], candidates, tolerance=2e-3)
    testing.assert_host_cache_rewinds(base, prompts[0], [338, 260, 2], tolerance=2e-3)
    testing.assert_greedy_equals_transformers(smollm2, texts, 12)


@pytest.mark.long
@pytest.mark.slow
def test_a_bfloat16_model_can_be_steered(smollm2):
    lm = trimtab.load("smollm2", dtype=torch.bfloat16)
    for name in ("sentiment", "sentiment-rad"):
        reward = trimtab.reward(name, lm)
        assert reward.base is lm.base
        half = reward.score(["What a wonderful film", "What a dreadful mess"])
        whole = trimtab.reward(name, smollm2).score(["What a wonderful film", "What a dreadful mess"])
        torch.testing.assert_close(half, whole, atol=0.1, rtol=0)
        assert lm.generate("The food was", reward.toward(20), max_new_tokens=4, seed=0).text
