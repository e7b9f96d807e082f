"""What `from_transformers`, `reward` and `experts` refuse by its type, as users without a type checker see it."""

import pytest

import trimtab
from trimtab.errors import WrongType


def test_a_draft_is_a_folder_or_a_model(llama):
    with pytest.raises(WrongType, match="got draft=3, expected a folder"):
        trimtab.from_transformers(llama.model, llama.tokenizer, draft=3)


def test_an_expert_is_a_model_or_its_name(llama):
    lm = trimtab.from_transformers(llama.model, llama.tokenizer)
    with pytest.raises(WrongType, match="got the expert 3"):
        trimtab.experts(3)
    with pytest.raises(WrongType, match="got lm='w'"):
        trimtab.experts(lm, lm="w")


def test_a_reward_is_for_a_model():
    with pytest.raises(WrongType, match="got lm='smollm2', expected the language model"):
        trimtab.reward("toxicity", "smollm2")
