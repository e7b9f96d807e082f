"""The model that is measured."""

import pytest

from tiny import VOCABULARY, save_lm, tiny_lm
from trimtab.benchmark.subject import (
    Subject,
    SubjectSpec,
    check_fits,
    configs_of,
    endless,
    load_subject,
    random_prompts,
)
from trimtab.errors import InvalidSetting, ModelNotFound


def test_the_weights_read_are_those_of_the_layers_the_norm_and_the_head(subject):
    everything = sum(weight.numel() for weight in subject.lm.model.parameters())  # the embedding is the head: tied
    assert subject.weights_read == everything
    of_layers = everything - VOCABULARY * 32 - 32
    assert subject.trunk_weights == 2 * of_layers / 3


def test_an_embedding_that_is_not_the_head_is_not_read():
    lm = tiny_lm("qwen2")
    everything = sum(weight.numel() for weight in lm.model.parameters())
    assert not lm.model.config.tie_word_embeddings
    assert Subject(lm, lm, 1).weights_read == everything - VOCABULARY * 32


def test_an_endless_model_has_no_eos():
    lm = tiny_lm("gpt2")
    assert lm.codec.eos_token_ids
    assert not endless(lm).codec.eos_token_ids
    assert lm.model.generation_config.eos_token_id is None


def test_a_smaller_base_gives_all_its_layers(shaped):
    assert (shaped.lm.layers, shaped.base.layers, shaped.layers) == (6, 2, 2)
    assert shaped.lm.codec.fingerprint == shaped.base.codec.fingerprint


def test_a_loaded_model_gives_two_thirds_of_its_layers(tmp_path):
    lm = tiny_lm("llama")
    save_lm(lm, tmp_path)
    loaded = load_subject(SubjectSpec(str(tmp_path), device="cpu"))
    assert loaded.lm is loaded.base
    assert loaded.layers == 2
    assert not loaded.lm.codec.eos_token_ids
    assert load_subject(SubjectSpec(str(tmp_path), device="cpu"), layers=3).layers == 3


def test_an_unknown_model_is_refused():
    with pytest.raises(ModelNotFound):
        load_subject(SubjectSpec("no/such/folder/here"))
    with pytest.raises(ModelNotFound):
        configs_of(SubjectSpec("no/such/folder/here"))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_what_does_not_fit_is_refused_without_weights(family, tmp_path):
    lm = tiny_lm(family)  # a context of 64 tokens, one of them for BOS
    lm.model.config.save_pretrained(tmp_path)
    spec = SubjectSpec(str(tmp_path))
    check_fits(spec, prompt_tokens=40, tokens=23, top_k=VOCABULARY, layers=3)
    for wrong, named in [
        ({"tokens": 24}, "at most 63 together"),
        ({"top_k": VOCABULARY + 1}, "top_k=65"),
        ({"layers": 4}, r"layers=4.*the 3 of"),
    ]:
        with pytest.raises(InvalidSetting, match=named):
            check_fits(spec, **{"prompt_tokens": 40, "tokens": 23, "top_k": 20, "layers": None, **wrong})


def test_the_context_of_a_smaller_base_counts():
    check_fits(SubjectSpec("", "gpt2-large"), 1000, 23, 20, 12)
    with pytest.raises(InvalidSetting, match="at most 1023"):
        check_fits(SubjectSpec("", "gpt2-large"), 1000, 24, 20, None)
    with pytest.raises(InvalidSetting, match="the 12 of 'gpt2-large'"):
        check_fits(SubjectSpec("", "gpt2-large"), 20, 24, 20, 13)


def test_prompts_are_random_different_and_the_same_again(subject):
    prompts = random_prompts(subject.lm, 8, 5, seed=1)
    assert [len(ids) for ids in prompts] == [5] * 8
    assert len(set(map(tuple, prompts))) == 8
    assert prompts == random_prompts(subject.lm, 8, 5, seed=1) != random_prompts(subject.lm, 8, 5, seed=2)
