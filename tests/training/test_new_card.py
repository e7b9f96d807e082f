"""The card of a reward before training."""

import pytest

from good_words import quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.new_card import new_card


@pytest.mark.parametrize(("trunk", "bos"), [("frozen", None), ("lora", 1), ("full", 1)])
def test_a_reward_on_the_models_own_state_reads_what_the_model_reads(trunk, bos):
    card = new_card(tiny_lm("llama"), ["good"], quick(trunk=trunk))  # its tokenizer puts no BOS before a text
    assert (card.bos_token_id, card.layers, card.lora_alpha) == (bos, 3, 8)


@pytest.mark.parametrize("changes", [{"layers": 4}, {"rank": 33}, {"lora_rank": 33}])
def test_a_recipe_that_does_not_fit_the_base_is_refused(llama, changes):
    with pytest.raises(errors.InvalidSetting, match=f"got {next(iter(changes))}="):
        new_card(llama, ["good"], quick(**changes))
