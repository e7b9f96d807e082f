"""The card of a reward before training."""

import pytest

from good_words import quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.new_card import new_card


@pytest.mark.parametrize(("trunk", "bos"), [("frozen", None), ("ladder", None), ("lora", 1), ("full", 1)])
def test_a_reward_on_the_models_own_state_reads_what_the_model_reads(trunk, bos):
    card = new_card(tiny_lm("llama"), ["good"], quick(trunk=trunk))  # its tokenizer puts no BOS before a text
    assert (card.bos_token_id, card.layers, card.lora_alpha) == (bos, 3, 8)


def test_a_ladder_reads_even_depths_up_to_its_layers():
    lm = tiny_lm("llama")
    assert new_card(lm, ["good"], quick(trunk="ladder")).taps == (1, 2, 3)
    assert new_card(lm, ["good"], quick(trunk="ladder", layers=2, ladder_layers=1)).taps == (2,)
    assert new_card(lm, ["good"], quick()).taps == ()
    with pytest.raises(errors.InvalidSetting, match="got ladder_layers=4"):
        new_card(lm, ["good"], quick(trunk="ladder", ladder_layers=4))


@pytest.mark.parametrize("changes", [{"layers": 4}, {"rank": 33}, {"lora_rank": 33}])
def test_a_recipe_that_does_not_fit_the_base_is_refused(llama, changes):
    with pytest.raises(errors.InvalidSetting, match=f"got {next(iter(changes))}="):
        new_card(llama, ["good"], quick(**changes))
