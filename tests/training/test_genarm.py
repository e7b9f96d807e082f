"""GenARM: a language model that learns from pairs, and steers by its log-probabilities."""

import math

import pytest
import torch

import trimtab
from good_words import good_pairs, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.data.tables import TextPair
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.training.genarm import train_genarm
from trimtab.training.objectives import sequence_bradley_terry
from trimtab.training.pairs import train_from_pairs
from trimtab.training.recipe import LM_RECIPE, GenARMSettings

GOOD, BAD = ({f"w{number}" for number in range(first, first + 9)} for first in (1, 31))


@pytest.fixture(scope="module")
def base():
    return tiny_lm("llama", seed=3)


def short_pairs(count, seed=0):
    """Pairs of three words each: the longer of two texts has a lower log-probability, whatever it says."""
    return [
        TextPair(*(" ".join(text.split()[:3]) for text in (pair.chosen, pair.rejected)))
        for pair in good_pairs(count, seed)
    ]


@pytest.fixture(scope="module")
def trained(base):
    recipe = quick(head="lm", lora_rank=8, learning_rate=2e-2, probe_beta=1.0)
    return train_genarm(base, "kind", short_pairs(100), short_pairs(40, 1), recipe, GenARMSettings(beta_r=0.5))


def test_the_loss_is_the_papers():
    """−log σ(β_r (Σ log p_r(y⁺) − Σ log p_r(y⁻))), by hand; padding does not count."""
    values = torch.tensor([[9.0, -1.0, -2.0], [9.0, 9.0, -1.0], [-4.0, -1.0, -2.0], [9.0, -3.0, -0.5]])[..., None]
    known = torch.tensor([[0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    margins = (-3.0 - -7.0, -1.0 - -3.5)
    expected = sum(math.log1p(math.exp(-0.05 * margin)) for margin in margins) / 2
    assert float(sequence_bradley_terry(values, known, 0.05).mean) == pytest.approx(expected)


def test_it_learns_to_prefer_the_chosen_text(trained):
    assert trained.card.quality["accuracy:kind"] > 0.95
    assert (trained.card.head, trained.card.clamp, trained.card.baseline) == ("lm", None, False)
    assert trained.card.provenance["objective"] == "genarm, beta_r 0.5"
    scores = trained.score(["w2 w3 w4", "w32 w33 w34"])[:, 0].tolist()
    assert scores[0] > scores[1]


def test_it_steers_towards_chosen_words(trained, base):
    """GenARM's product with the base, at β = 1: good words gain probability, bad words lose it."""
    lm = LanguageModel(TorchEngine(base))
    for prompt in ("w2 w3", "w7", "w20"):
        choice = lm.generate(prompt, trained.toward(1.0), top_k=None, max_new_tokens=1, seed=0).trace[0].choice
        gained = choice.steered_logprobs - choice.base_logprobs
        words = [base.tokenizer.decode(token) for token in choice.candidates.tolist()]
        good, bad = ([gained[place] for place, word in enumerate(words) if word in kind] for kind in (GOOD, BAD))
        assert len(good) == len(bad) == 9
        assert sum(good) > sum(bad)


def test_the_folder_loads_as_a_reward_and_as_an_expert(trained, base, tmp_path):
    """Minus its own base as the anti-expert, the reward is what training changed."""
    trained.save_pretrained(tmp_path / "kind")
    lm = LanguageModel(TorchEngine(base))
    options = {"max_new_tokens": 5, "seed": 0}
    alone = lm.generate("w20", trimtab.reward(tmp_path / "kind", lm).toward(1.0), **options)
    assert alone.text == lm.generate("w20", trimtab.experts(tmp_path / "kind", lm=lm).toward(1.0), **options).text
    minus_base = trimtab.experts(tmp_path / "kind", lm, lm)
    rewards = lm.generate("w20", minus_base.toward(1.0), top_k=None, max_new_tokens=1, seed=0).trace[0].choice
    good = [place for place, token in enumerate(rewards.candidates.tolist()) if base.tokenizer.decode(token) in GOOD]
    of_tokens = rewards.rewards[f"{minus_base.name}:expert"]
    assert of_tokens[good].mean() > of_tokens.mean()


def test_what_cannot_train_a_language_model_is_refused(base):
    pairs = [TextPair("w1 w2", "w31 w32")] * 2
    with pytest.raises(errors.InvalidSetting, match="expected head='lm'"):
        train_genarm(base, "kind", pairs, pairs, quick())
    with pytest.raises(errors.InvalidSetting, match="expected trunk='lora' or 'full'"):
        train_genarm(base, "kind", pairs, pairs, quick(head="lm", trunk="frozen"))
    with pytest.raises(errors.InvalidSetting, match="by trimtab train genarm, by"):
        train_from_pairs(base, "kind", pairs, pairs, quick(head="lm"))
    with pytest.raises(errors.InvalidSetting, match="got beta_r=0"):
        GenARMSettings(beta_r=0.0)


def test_the_defaults_are_the_papers():
    assert (LM_RECIPE.trunk, LM_RECIPE.resolved_learning_rate, GenARMSettings().beta_r) == ("lora", 5e-4, 0.05)
