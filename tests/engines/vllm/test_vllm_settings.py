import pytest

from trimtab.engines.vllm.vllm_settings import usual_taps
from trimtab.rewards.registry import bundled_rewards
from trimtab.rewards.taps import even_taps
from trimtab.training.adapt_settings import AdaptSettings
from trimtab.training.recipe import Recipe


@pytest.mark.parametrize("layers", [2, 12, 16, 30])
def test_the_usual_depths_are_those_of_new_ladders(layers):
    adapted, trained = AdaptSettings().recipe(layers, 64, keep_states=False), Recipe()
    for count in (adapted.ladder_layers, min(trained.ladder_layers, layers)):
        assert {*even_taps(layers, count)} <= {*usual_taps(layers)}


def test_the_usual_depths_are_those_of_bundled_rewards():
    for card in bundled_rewards().values():
        depths = {"ladder": card.taps, "frozen": (card.layers,)}.get(card.trunk, ())
        assert {*depths} <= {*usual_taps(card.layers if card.trunk == "ladder" else 30)}
