"""The README.md beside a reward."""

from dataclasses import replace

import pytest

from tiny import tiny_reward
from trimtab.cli.reward_offers import steering_command
from trimtab.rewards.model_card import model_card
from trimtab.rewards.registry import BUNDLED, bundled_rewards


@pytest.mark.parametrize("name", bundled_rewards())
def test_the_readme_of_a_bundled_reward_is_the_one_of_its_card(name):
    """If this fails after a change of wording, write the cards again with `write_card`."""
    assert (BUNDLED / name / "README.md").read_text(encoding="utf-8") == model_card(bundled_rewards()[name], name)


@pytest.mark.parametrize(
    ("head", "trunk", "lines"),
    [
        ("q", "lora", ["ARM (Q-head, 2407.04615)", "| head | Q-head of rank 4 |", "with LoRA adapters of rank 2 |"]),
        ("v", "full", ["RAD (V-head, 2310.09520)", "| head | V-head |", "layers, trained as a whole |"]),
    ],
)
def test_a_model_card_names_method_head_and_trunk(llama, head, trunk, lines):
    text = model_card(tiny_reward(llama, head, trunk).card, "mine")
    assert all(line in text for line in lines)
    assert 'trimtab.reward("path/to/mine", lm)' in text


@pytest.mark.parametrize("head", ["lm", "knn"])
@pytest.mark.parametrize(("attribute", "way"), [("kind", "toward"), ("toxic", "away")])
def test_log_probabilities_steer_with_a_strength_of_1(llama, head, attribute, way):
    card = replace(tiny_reward(llama, "q").card, head=head, attributes=(attribute,), clamp=None)
    assert f'steer = trimtab.reward("path/to/mine", lm).{way}(beta=1)' in model_card(card, "mine")
    assert f"rewards/mine={'-' if way == 'away' else '+'}1" in steering_command(card, "rewards/mine", "tiny")


def test_a_pipe_in_a_cell_is_escaped(llama):
    text = model_card(tiny_reward(llama, "q", provenance={"command": "a | b"}).card, "mine")
    assert "| command | a \\| b |" in text
