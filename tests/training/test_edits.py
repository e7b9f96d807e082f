"""RLMEC's token rewards from the minimal edit of a pair."""

import pytest
import torch

from good_words import good_pairs, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.edits import Edits, edit_rewards
from trimtab.training.pairs import train_from_pairs
from trimtab.training.recipe import PairSettings


@pytest.mark.parametrize(
    ("rejected", "chosen", "expected"),
    [
        ([1, 2, 3], [1, 9, 3], [0, -0.1, 0]),  # a token is replaced
        ([1, 2, 3], [1, 3], [0, -0.1, 0]),  # taken out
        ([1, 3], [1, 2, 3], [0, 0]),  # put in
        ([4, 5], [1, 2], [-0.1, -0.1]),  # nothing is kept
    ],
)
def test_the_rewards_by_hand(rejected, chosen, expected):
    """P − ½, clipped to [0, 0.5] in the chosen text and to [−0.1, 0] in the rejected one; P is 0 or 1 here."""
    good, bad = edit_rewards(chosen, rejected)
    assert good == [0.5] * len(chosen)
    assert bad == pytest.approx(expected)


def test_what_is_kept_is_a_common_subsequence():
    """Whatever the texts: the kept tokens, in order, are in both."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        chosen, rejected = (torch.randint(0, 5, (8,), generator=draw).tolist() for _ in range(2))
        kept = [token for token, reward in zip(rejected, edit_rewards(chosen, rejected)[1], strict=True) if reward == 0]
        rest = iter(chosen)
        assert all(token in rest for token in kept)


def test_a_batch_is_padded_on_the_left():
    batch = Edits(0).collate([{"chosen": [1, 2], "rejected": [1, 3, 4]}, {"chosen": [5], "rejected": [6]}])
    assert batch["ids"].tolist() == [[0, 1, 2], [0, 0, 5], [1, 3, 4], [0, 0, 6]]
    assert batch["rewards"][..., 0].tolist() == [
        pytest.approx(row) for row in ([0, 0.5, 0.5], [0, 0, 0.5], [0, -0.1, -0.1], [0, 0, -0.1])
    ]


def test_a_head_of_single_tokens_learns_them():
    lm = tiny_lm("llama", seed=3)
    reward = train_from_pairs(lm, "kind", good_pairs(160), good_pairs(40, 1), quick(epochs=8), PairSettings(edits=True))
    assert (reward.card.baseline, reward.card.clamp) == (False, None)
    assert reward.card.provenance["objective"] == "pairs, token rewards of the edit"
    state = reward.start()
    prompts = lm.batch([[20, 21]])
    state.prefill(prompts.ids, prompts.mask)
    good, bad = lm.tokenizer(["w2 w3 w4 w5", "w32 w33 w34 w35"], add_special_tokens=False)["input_ids"]
    rewards = state.rewards(torch.tensor([[*good, *bad]]))[0, :, 0]
    assert rewards[:4].min() > rewards[4:].max()
    with pytest.raises(errors.InvalidSetting, match="expected head='q'"):
        train_from_pairs(lm, "kind", good_pairs(4), good_pairs(4), quick(head="v"), PairSettings(edits=True))
