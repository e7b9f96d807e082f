"""Random models of known shapes."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from trimtab.benchmark.shapes import SHAPES, find_shapes, random_lm
from trimtab.errors import InvalidSetting

PUBLISHED = {  # parameters of the released weights
    "gpt2-large": (774_030_080, 124_439_808),
    "llama-7b": (6_738_415_616, 1_100_048_384),
}


@pytest.mark.parametrize(("name", "sizes"), PUBLISHED.items())
def test_the_shapes_have_the_published_numbers_of_parameters(name, sizes):
    with torch.device("meta"):
        models = [AutoModelForCausalLM.from_config(config) for config in SHAPES[name]()]
    assert tuple(model.num_parameters() for model in models) == sizes


@pytest.mark.parametrize("name", SHAPES)
def test_a_reward_has_the_vocabulary_of_its_model(name):
    shapes = find_shapes(name)
    assert shapes.lm.vocab_size == shapes.reward.vocab_size


def test_a_random_model_has_the_number_format_that_was_asked_for():
    config, cpu = SHAPES["tiny"]().lm, torch.device("cpu")
    assert random_lm(config, "tiny", cpu, None).model.dtype == torch.float32
    assert random_lm(config, "tiny", cpu, torch.bfloat16).model.dtype == torch.bfloat16


def test_unknown_shapes_are_refused():
    with pytest.raises(InvalidSetting, match=r"'gpt5'.*gpt2-large"):
        find_shapes("gpt5")
