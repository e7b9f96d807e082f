"""Rewards from pairs of texts."""

import pytest
import torch

from good_words import good_pairs, quick
from tiny import tiny_lm, tiny_reward
from trimtab.rewards.heads.base import PrefixRewards
from trimtab.training.examples import TokenizedPairs
from trimtab.training.objectives import bradley_terry, prefix_bradley_terry
from trimtab.training.pairs import Preferences, train_from_pairs
from trimtab.training.recipe import PairSettings


@pytest.mark.long
@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("prefixes", [False, True])
def test_a_reward_of_pairs_learns_to_prefer_the_chosen_text(head, prefixes):
    recipe = quick(head=head, epochs=8)
    lm = tiny_lm("llama", seed=3)
    reward = train_from_pairs(lm, "kind", good_pairs(160), good_pairs(40, 1), recipe, PairSettings(prefixes))
    assert reward.card.quality["accuracy:kind"] > 0.95
    scores = reward.score(["w2 w3 w4", "w32 w33 w34"])[:, 0].tolist()
    assert scores[0] > scores[1]
    assert reward.card.provenance["objective"] == ("pairs, with prefixes" if prefixes else "pairs")


def test_the_clamp_is_the_range_of_the_held_out_rewards():
    reward = train_from_pairs(tiny_lm("llama"), "kind", good_pairs(40), good_pairs(20, 1), quick(epochs=1))
    spread = reward.card.quality["reward_range"]
    assert reward.card.clamp == (spread["1%"], spread["99%"])
    assert spread["min"] <= spread["1%"] < spread["99%"] <= spread["max"]


def test_the_loss_with_prefixes_is_the_mean_of_both_losses():
    lm = tiny_lm("llama")
    reward, pairs = tiny_reward(lm, "q", attributes=("kind",)), TokenizedPairs(good_pairs(4), lm, 128).first(4)
    without, with_prefixes = (Preferences(PairSettings(prefixes), lm.pad_token_id) for prefixes in (False, True))
    batch = without.collate(pairs)
    scored = reward.network(batch["ids"], batch["mask"])
    whole = bradley_terry(scored.values[:4, -1], scored.values[4:, -1])
    prefixes = prefix_bradley_terry(scored.values[:4], scored.values[4:], scored.known[:4], scored.known[4:])
    head = reward.network.head
    torch.testing.assert_close(without.loss(scored, head, batch).mean, whole.total / 4)
    torch.testing.assert_close(with_prefixes.loss(scored, head, batch).mean, (whole.total + prefixes.total) / 2 / 4)
    assert abs(whole.total - prefixes.total) > 0.1


def test_a_text_of_one_token_without_bos_is_compared_with_nothing():
    """There is no state before its only token, so what stands there is padding."""
    lm = tiny_lm("llama")
    objective, head = Preferences(PairSettings(), lm.pad_token_id), torch.nn.Identity()
    values, known = torch.randn(4, 3, 1), torch.tensor([[0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    found = objective.loss(PrefixRewards(values, known, values), head, {})
    expected = -torch.nn.functional.logsigmoid(values[0, -1] - values[2, -1])
    torch.testing.assert_close(found.mean, expected[0])
