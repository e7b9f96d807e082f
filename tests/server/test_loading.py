"""Which rewards a server has if none is named."""

import pytest

from trimtab.rewards.registry import bundled_rewards
from trimtab.server.loading import DEFAULT_REWARDS, fitting_rewards


def test_the_default_rewards_are_bundled_and_on_the_models_own_states():
    trunks = {name: card.trunk for name, card in bundled_rewards().items()}
    assert {trunks[name] for name in DEFAULT_REWARDS} == {"ladder"}


def test_a_model_of_another_tokenizer_has_none(llama):
    assert fitting_rewards(llama) == []


@pytest.mark.slow
def test_the_embedded_model_has_both(smollm2):
    assert [place.source for place in fitting_rewards(smollm2.base)] == list(DEFAULT_REWARDS)
