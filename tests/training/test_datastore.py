"""RTD: the mixture against scikit-learn's neighbours, the laws of rewards, and steering."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from good_words import good_words, quick
from tiny import opening_lm, tiny_lm
from trimtab import errors, testing
from trimtab.data.tables import PromptedText
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.guide import Guide
from trimtab.language_model import LanguageModel
from trimtab.models.kv_cache import KVCache
from trimtab.steering.rule import Candidates
from trimtab.training.datastore import build_datastore
from trimtab.training.datastore_settings import DatastoreSettings
from trimtab.training.labels import train_from_labels

TEXTS = [PromptedText(row.text) for row in good_words(60)]
SETTINGS = DatastoreSettings(max_tokens=32, keys=100, neighbours=6, distance_temperature=2.0, mix=0.4)
PROMPTS = [[10, 20, 30, 40, 11], [50, 51], [12, 13, 14, 15]]
CANDIDATES = [5, 17, 29, 41, 53]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def lm(request):
    return tiny_lm(request.param, seed=3)


@pytest.fixture(scope="module")
def store(lm):
    return build_datastore(lm, "words", TEXTS, TEXTS[:10], SETTINGS)


def last_state_and_p(lm, ids):
    """By transformers' own forward, in float64."""
    with torch.no_grad():
        found = lm.model(torch.tensor([ids]), output_hidden_states=True)
    return found.hidden_states[-1][0, -1].numpy(), found.logits[0, -1].double().softmax(-1).numpy()


def test_a_bos_that_a_text_begins_with_has_no_state_before_it():
    lm = opening_lm("llama")
    plain, opened = (
        build_datastore(lm, "words", [PromptedText(text)], [], SETTINGS) for text in ("w1 w2", "<bos> w1 w2")
    )
    assert torch.equal(plain.network.head.tokens, opened.network.head.tokens)
    assert torch.allclose(plain.network.head.keys, opened.network.head.keys, atol=1e-5)


def test_the_reward_is_the_papers_mixture(lm, store):
    """q by scikit-learn's exact neighbours; log(λ q + (1 − λ) p) − log p for every token."""
    head = store.network.head
    keys, tokens = head.keys.numpy(), head.tokens.numpy()
    index = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(keys)
    checked = 0
    for prompt in PROMPTS:
        h, p = last_state_and_p(lm, prompt)
        (distances,), (places,) = index.kneighbors(h[None])
        if distances[6] - distances[5] < 1e-3:  # the sixth is not unique
            continue
        checked, distances, places = checked + 1, distances[:6], places[:6]
        weights = np.exp(-distances / 2.0) / np.exp(-distances / 2.0).sum()
        q = np.zeros(len(p))
        np.add.at(q, tokens[places], weights)
        state = store.start()
        batch = lm.batch([prompt])
        state.prefill(batch.ids, batch.mask)
        found = state.rewards(None)[0, :, 0].double().numpy()
        assert np.allclose(found, np.log(0.4 * q + 0.6 * p) - np.log(p), atol=2e-4)
        assert found.min() == pytest.approx(math.log(0.6), abs=1e-4)
    assert checked


def test_the_keys_are_states_before_the_stored_tokens(lm):
    """Every position of a text that has a state before it; of a prompted text, those behind its prompt."""
    (text,) = good_words(1)
    ids = lm.tokenizer(text.text, add_special_tokens=False)["input_ids"]
    head = build_datastore(lm, "words", [PromptedText(text.text)], [], SETTINGS).network.head
    assert head.tokens.tolist() == ids[1:]
    for place, key in enumerate(head.keys, start=1):
        assert np.allclose(last_state_and_p(lm, ids[:place])[0], key.numpy(), atol=1e-4)
    prompted = build_datastore(lm, "words", [PromptedText("w9", "w1 w2 w3")], [], SETTINGS).network.head
    asked = lm.tokenizer("w1 w2 w3 w9", add_special_tokens=False)["input_ids"]
    assert prompted.tokens.tolist() == asked[-1:]
    assert np.allclose(last_state_and_p(lm, asked[:-1])[0], prompted.keys[0].numpy(), atol=1e-4)


def test_the_laws_hold(store, lm, tmp_path):
    testing.assert_cached_equals_recomputed(store, PROMPTS[0], [5, 44, 29, 6], CANDIDATES, 1e-3)
    testing.assert_candidates_equal_separate(store, PROMPTS, CANDIDATES, 1e-3)
    testing.assert_batched_equals_single(store, PROMPTS, CANDIDATES, 1e-3)
    testing.assert_padding_changes_nothing(store, PROMPTS[0], CANDIDATES, tolerance=1e-3)
    testing.assert_rollback_replays(store, PROMPTS[0], [5, 44, 29], [9, 8], CANDIDATES, 1e-3)
    testing.assert_forks_are_independent(store, PROMPTS, CANDIDATES, 1e-3)
    testing.assert_candidates_equal_vocabulary(store, PROMPTS[0], CANDIDATES, 1e-3)
    testing.assert_joined_states_equal_separate(store, PROMPTS[:2], PROMPTS[2:], CANDIDATES, 1e-3)
    testing.assert_accepted_column_equals_fed(store, PROMPTS[0], CANDIDATES, 1e-3)
    testing.assert_hosted_equals_separate(store, PROMPTS, [5, 44, 29], CANDIDATES, 1e-3)
    testing.assert_save_load_identical(store, lm, PROMPTS[0], tmp_path / "store")


def test_the_laws_of_engines_hold(store, lm):
    model, texts, options = LanguageModel(TorchEngine(lm)), ["w1 w2 w3", "w8", "w9 w10"], {"top_k": 6, "seed": 3}
    options["max_new_tokens"] = 10
    testing.assert_zero_beta_is_plain(model, store, texts, **options)
    testing.assert_halves_add_up(model, store, 1.0, texts, **options)
    testing.assert_constant_changes_nothing(model, store, 2.0, texts, **options)
    testing.assert_seeded_ignores_batch(model, [store.toward(1.0), None, store.away(0.5)], texts, **options)
    params = SamplingParams(**options)
    requests = [
        Request(prompt, params, steer)
        for prompt, steer in zip(PROMPTS, [store.toward(1.0), None, store.away(1.0)], strict=True)
    ]
    testing.assert_joining_changes_nothing(TorchEngine(lm), requests, 2)
    testing.assert_speculation_changes_nothing(TorchEngine(lm), requests, "lookup")


def test_without_a_mix_the_text_is_the_bases(lm):
    none = build_datastore(lm, "words", TEXTS, [], DatastoreSettings(max_tokens=32, keys=50, neighbours=5, mix=0.0))
    model = LanguageModel(TorchEngine(lm))
    options = {"max_new_tokens": 8, "seed": 1}
    assert model.generate("w1 w2", none.toward(1.0), **options).text == model.generate("w1 w2", **options).text


def test_steering_samples_from_the_mixture_without_a_forward_of_its_own(lm, store):
    model = LanguageModel(TorchEngine(lm))
    choice = model.generate("w20 w21", store.toward(1.0), top_k=None, max_new_tokens=1, seed=0).trace[0].choice
    _, p = last_state_and_p(lm, lm.codec.encode_prompt("w20 w21"))
    order = choice.candidates.tolist()
    rewards = choice.rewards["datastore:words"].double()
    expected = torch.tensor(p[order]).log() + rewards
    assert torch.allclose(choice.steered_logprobs.double(), expected.log_softmax(-1), atol=1e-3)
    assert float(expected.exp().sum()) == pytest.approx(1.0, abs=1e-3)  # the mixture is a distribution
    assert store.reads(lm.model) is not None


def test_drafts_are_made_without_a_search_of_the_neighbours(lm, store, monkeypatch):
    host = KVCache(lm.model, [store.reads(lm.model)])
    guide = Guide([store.toward(1.0)], lm.device, host)
    host.feed(torch.tensor([PROMPTS[0]]))
    guide.prefill(lm.batch([PROMPTS[0]]))
    monkeypatch.setattr(type(store.network.head), "nearest", lambda *given: pytest.fail("searched"))
    logits = torch.randn(1, 3)
    assert torch.equal(guide.steer_draft(Candidates(torch.tensor([[5, 6, 7]]), logits, whole=False)), logits)


def test_texts_like_the_stored_ones_become_likelier(store):
    quality = store.card.quality
    assert quality["perplexity"] < quality["base_perplexity"]


def test_token_ids_survive_a_narrow_dtype(lm, store, tmp_path):
    store.save_pretrained(tmp_path / "store", torch.bfloat16)
    from trimtab.rewards.registry import load_reward

    loaded = load_reward(str(tmp_path / "store"), lm)
    assert loaded.network.head.tokens.tolist() == store.network.head.tokens.tolist()


def test_the_draw_of_keys_depends_on_the_seed(lm):
    one, same, other = (
        build_datastore(lm, "words", TEXTS, [], DatastoreSettings(max_tokens=32, keys=20, seed=seed)).fingerprint
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_what_does_not_fit_is_refused(lm):
    for changes in (
        {"mix": 1.0},
        {"mix": -0.1},
        {"neighbours": 0},
        {"keys": 0},
        {"keys": 10**7},
        {"distance_temperature": 0.0},
    ):
        with pytest.raises(errors.InvalidSetting, match=f"got {next(iter(changes))}="):
            DatastoreSettings(**changes)
    with pytest.raises(errors.InvalidSetting, match="expected q or v"):
        train_from_labels(lm, ["good"], good_words(4), good_words(4), quick(head="knn"))
    store = build_datastore(lm, "words", TEXTS[:3], [], SETTINGS)
    with pytest.raises(errors.InvalidSetting, match="to rank texts by"):
        LanguageModel(TorchEngine(lm)).best_of("w1", 2, by=store)
