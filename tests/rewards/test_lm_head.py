"""GenARM's head: log-probabilities of next tokens, and the laws of rewards."""

import pytest
import torch

from families import tiny_config, tiny_model
from tiny import tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.heads import lm_head
from trimtab.rewards.network import build_network

PROMPT = [10, 20, 30, 40, 11, 21, 31]
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
CANDIDATES = [5, 17, 29, 41, 53]
TOLERANCE = 1e-4
SETTINGS = {"attributes": ("preferred",), "clamp": None, "baseline": False}


@pytest.fixture(scope="module")
def base():
    return tiny_lm("qwen2")


@pytest.fixture(scope="module", params=["lora", "full"])
def reward(request, base):
    return tiny_reward(base, "lm", request.param, **SETTINGS)


def test_the_laws_hold(reward):
    testing.assert_cached_equals_recomputed(reward, PROMPT, [5, 44, 29, 6], CANDIDATES, TOLERANCE)
    testing.assert_candidates_equal_separate(reward, PROMPTS, CANDIDATES, TOLERANCE)
    testing.assert_batched_equals_single(reward, PROMPTS, CANDIDATES, TOLERANCE)
    testing.assert_padding_changes_nothing(reward, PROMPT, CANDIDATES, tolerance=TOLERANCE)
    testing.assert_rollback_replays(reward, PROMPT, [5, 44, 29], [9, 8], CANDIDATES, TOLERANCE)
    testing.assert_forks_are_independent(reward, PROMPTS, CANDIDATES, TOLERANCE)
    testing.assert_joined_states_equal_separate(reward, PROMPTS[:2], PROMPTS[2:], CANDIDATES, TOLERANCE)
    testing.assert_candidates_equal_vocabulary(reward, PROMPT, CANDIDATES, TOLERANCE)


def test_the_laws_of_engines_hold(reward, base):
    model, texts, options = LanguageModel(TorchEngine(base)), ["w1 w2 w3", "w8", "w9 w10"], {"top_k": 6, "seed": 3}
    options["max_new_tokens"] = 10
    steers = [reward.toward(1.0), None, reward.away(0.5)]
    testing.assert_accepted_column_equals_fed(reward, PROMPT, CANDIDATES, TOLERANCE)
    testing.assert_zero_beta_is_plain(model, reward, texts, **options)
    testing.assert_halves_add_up(model, reward, 1.0, texts, **options)
    testing.assert_constant_changes_nothing(model, reward, 2.0, texts, **options)
    testing.assert_seeded_ignores_batch(model, steers, texts, **options)
    requests = [
        Request(prompt, SamplingParams(**options), steer) for prompt, steer in zip(PROMPTS, steers, strict=True)
    ]
    testing.assert_joining_changes_nothing(TorchEngine(base), requests, 2)
    testing.assert_speculation_changes_nothing(TorchEngine(base), requests, "lookup")


def test_saving_and_loading_changes_no_bit(reward, base, tmp_path):
    testing.assert_save_load_identical(reward, base, PROMPT, tmp_path / "reward")


def test_an_untrained_trunk_has_the_bases_own_log_probabilities(base):
    """By transformers' forward and a softmax in float64; BOS opens the text."""
    reward = tiny_reward(base, "lm", "full", layers=base.layers, **SETTINGS)
    text = [base.bos_token_id, *PROMPT]
    logits = base.model(input_ids=torch.tensor([text])).logits[0, :-1].double()
    expected = logits.log_softmax(-1).gather(1, torch.tensor(PROMPT)[:, None])
    assert torch.allclose(reward.score_ids([PROMPT]).values[0].double(), expected, atol=TOLERANCE)
    assert torch.allclose(reward.score_prefixes("w6 w16")[0][-1], reward.score_ids([[10, 20]]).values[0].sum())
    spectrum = reward.network.head.score_next_tokens(
        reward.prefix_encoder, [PromptBatch.pad([PROMPT], 0, base.device)], torch.tensor(CANDIDATES)
    )
    last = base.model(input_ids=torch.tensor([text])).logits[0, -1].double().log_softmax(-1)
    assert torch.allclose(spectrum[0, :, 0], last[CANDIDATES], atol=TOLERANCE)


def test_parts_of_a_batch_and_their_gradients_are_those_of_the_whole(base, monkeypatch):
    reward = tiny_reward(base, "lm", "full", **SETTINGS)
    network = reward.network.requires_grad_(True)
    batch = base.batch(PROMPTS)

    def run():
        network.zero_grad()
        scored = network(batch.ids, batch.mask)
        scored.values[scored.known].sum().backward()
        return scored.values[scored.known].detach(), network.trunk.layers[0].mlp.up_proj.weight.grad.clone()

    whole = run()
    monkeypatch.setattr(lm_head, "TOKENS_AT_ONCE", 5)
    for one, other in zip(whole, run(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_cards_that_do_not_fit_are_refused(base):
    with pytest.raises(errors.InvalidSetting, match="expected one attribute"):
        tiny_reward(base, "lm")
    with pytest.raises(errors.InvalidSetting, match="with trunk='ladder'"):
        tiny_reward(base, "lm", "ladder", bos_token_id=None, **SETTINGS)


SCALED = [("cohere2", "logit_scale", 0.25), ("granite", "logits_scaling", 4.0)]


@pytest.mark.parametrize(("family", "name", "factor"), SCALED)
def test_the_logits_are_scaled_as_those_of_the_base(family, name, factor):
    lm = FrozenLM(tiny_model(tiny_config(family, **{name: factor})), tiny_lm("llama").tokenizer, family)
    network = build_network(lm, tiny_reward(lm, "lm", "full", **SETTINGS, layers=lm.layers, bos_token_id=None).card)
    ids = torch.tensor([PROMPT])
    expected = lm.model(ids).logits[0, -1].double().log_softmax(-1)
    hidden = lm.model(ids, output_hidden_states=True).hidden_states[-1][:, -1]
    found = network.head.log_probs(hidden, None)[0].double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    of_all = network.head.score_next_tokens(network.encoder, [lm.batch([PROMPT])], torch.arange(lm.vocabulary_size))
    torch.testing.assert_close(of_all[0, :, 0], expected, atol=1e-5, rtol=1e-5)
    store = tiny_reward(lm, "knn", "frozen", **SETTINGS, keys=4).network.head
    torch.testing.assert_close(store._base[0].log_probs(hidden, None)[0].double(), expected, atol=1e-5, rtol=1e-5)
