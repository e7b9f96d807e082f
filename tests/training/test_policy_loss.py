"""HaF-RM's policy loss: against a computation in float64, and what it changes."""

import math

import pytest
import torch

from families import tiny_config, tiny_model
from good_words import good_pairs, quick
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data.tables import TextPair
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.network import build_network
from trimtab.training.examples import TokenizedPairs
from trimtab.training.new_card import new_card
from trimtab.training.objectives import policy_preference
from trimtab.training.pairs import Preferences, train_from_pairs
from trimtab.training.policy_loss import REFERENCE, PolicyLoss, ReferencedPairs
from trimtab.training.recipe import PairSettings

PAIRS = [TextPair("w1 w2 w3", "w1 w31"), TextPair("w4 w5", "w32 w33 w34 w35")]


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama", seed=3)


def log_prob(lm, text, skipped):
    """log p of a text behind BOS by transformers' own forward, in float64, without the first `skipped` tokens."""
    ids = [lm.bos_token_id, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0].double()
    of_tokens = logits[:-1].log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    return float(of_tokens[skipped:].sum())


def test_the_loss_by_hand():
    """−log σ(τ (margin of gains)), by hand; padding does not count."""
    values = torch.tensor([[9.0, -1.0, -2.0], [9.0, -3.0, -0.5]])[..., None]
    known = torch.tensor([[0, 1, 1], [0, 1, 1]], dtype=torch.bool)
    reference = torch.tensor([-5.0, -4.0])
    margin = (-3.0 + 5.0) - (-3.5 + 4.0)
    found = float(policy_preference(values, known, reference, 0.1).mean)
    assert found == pytest.approx(math.log1p(math.exp(-0.1 * margin)))


@pytest.mark.parametrize(("head", "skipped"), [("q", 0), ("v", 1)])
def test_the_reference_is_the_base_of_the_trunk(lm, head, skipped):
    """log π₀ of each text: all layers of the base with its output embedding. A V-head has no state before BOS."""
    recipe = quick(head=head)
    pairs = TokenizedPairs(PAIRS, lm, 16)
    found = ReferencedPairs(pairs, lm, new_card(lm, ["kind"], recipe), recipe)
    for pair, example in zip(PAIRS, (found[0], found[1]), strict=True):
        expected = [log_prob(lm, text, skipped) for text in (pair.chosen, pair.rejected)]
        assert example["reference"] == pytest.approx(expected, rel=1e-4)


def test_the_reference_starts_where_the_training_does(lm, tmp_path):
    recipe = quick(start=str(tmp_path / "start"), lora_rank=2)
    card = new_card(lm, ["kind"], recipe)
    start = tiny_reward(lm, "q", layers=lm.layers, lora_alpha=card.lora_alpha)
    start.save_pretrained(tmp_path / "start")
    found = ReferencedPairs(TokenizedPairs(PAIRS, lm, 16), lm, card, recipe)
    for pair, example in zip(PAIRS, (found[0], found[1]), strict=True):
        for text, reference in zip((pair.chosen, pair.rejected), example["reference"], strict=True):
            ids = torch.tensor([[lm.bos_token_id, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]])
            with torch.no_grad():
                states = start.network.trunk(input_ids=ids).last_hidden_state[0, :-1].double()
            logprobs = (states @ lm.output_embedding.double().T).log_softmax(-1)
            expected = float(logprobs.gather(1, ids[0, 1:, None]).sum())
            assert reference == pytest.approx(expected, rel=1e-4)
            assert reference != pytest.approx(log_prob(lm, text, 0), rel=1e-3)


def test_before_training_the_policy_loss_is_log_2_and_is_added_with_its_weight(lm):
    """π is π₀, so the margin is 0."""
    recipe = quick()
    pairs = TokenizedPairs(PAIRS, lm, 16)
    card = new_card(lm, ["kind"], recipe)
    examples, network = ReferencedPairs(pairs, lm, card, recipe), build_network(lm, card)
    settings = PairSettings(policy_loss=3.0)
    objective = Preferences(settings, lm.pad_token_id, PolicyLoss(settings, lm))
    batch = objective.collate([examples[0], examples[1]])
    scored = network(batch["ids"], batch["mask"])
    plain = Preferences(PairSettings(), lm.pad_token_id).loss(scored, network.head, batch)
    both = objective.loss(scored, network.head, batch)
    assert (both.mean - plain.mean).item() == pytest.approx(3 * math.log(2), rel=1e-4)


def test_it_trains_the_adapters_and_keeps_the_cost_of_the_reward(lm):
    rows, held_out = good_pairs(80), good_pairs(20, 1)
    plain, none, both = (
        train_from_pairs(lm, "kind", rows, held_out, quick(epochs=2), settings)
        for settings in (
            PairSettings(),
            PairSettings(policy_loss=0.0),
            PairSettings(policy_loss=1.0),
        )
    )
    assert none.fingerprint == plain.fingerprint != both.fingerprint
    assert both.card.provenance["objective"] == "pairs, policy loss 1 at 0.1"
    assert both.network.state_dict().keys() == plain.network.state_dict().keys()
    assert both.card.quality["accuracy:kind"] > 0.8


def test_a_trunk_that_is_not_trained_is_refused(lm):
    for trunk in ("frozen", "ladder"):
        with pytest.raises(errors.InvalidSetting, match="expected trunk='lora' or 'full'"):
            train_from_pairs(lm, "kind", PAIRS, PAIRS, quick(trunk=trunk), PairSettings(policy_loss=1.0))
    for changes in ({"policy_loss": -1.0}, {"policy_temperature": 0.0}, {"edits": True, "prefixes": True}):
        with pytest.raises(errors.InvalidSetting):
            PairSettings(**changes)


def test_the_logits_of_the_policy_are_scaled_as_those_of_the_base():
    config = tiny_config("granite", logits_scaling=4.0)
    lm = FrozenLM(tiny_model(config), tiny_lm("llama").tokenizer, "granite")
    pairs = TokenizedPairs(good_pairs(4), lm, 16)
    card = tiny_reward(lm, "q", "frozen", layers=lm.layers, bos_token_id=None).card
    found = ReferencedPairs(pairs, lm, card, quick(trunk="frozen"))
    for number in range(len(found)):
        ids = torch.tensor([found[number]["chosen"]])
        log_p = lm.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).sum()
        assert found[number][REFERENCE][0] == pytest.approx(float(log_p), abs=1e-3)


def test_a_pair_with_a_text_of_one_token_without_bos_is_left_out():
    values, reference = torch.randn(4, 3, 1), torch.zeros(4)
    known = torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    found = policy_preference(values, known, reference, 0.1)
    margin = values[0, 1:, 0].sum() - values[2, :, 0].sum()
    torch.testing.assert_close(found.mean, -torch.nn.functional.logsigmoid(0.1 * margin))
