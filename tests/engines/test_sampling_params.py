from dataclasses import FrozenInstanceError, fields, replace
from typing import get_type_hints

import pytest

from trimtab.engines.sampling_params import DraftOptions, SamplingOptions, SamplingParams
from trimtab.errors import InvalidSetting


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 0},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"max_kl": -0.1},
        {"max_kl": 1e-9},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": float("inf")},
        {"repetition_penalty": 1e-30},
        {"no_repeat_ngram_size": -1},
        {"no_repeat_ngram_size": 10**12},
        {"no_repeat_ngram_size": 2.5},
        {"max_kl": float("inf")},
        {"max_kl": float("nan")},
        {"max_kl": "1"},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"max_new_tokens": 0},
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(settings):
    with pytest.raises(InvalidSetting, match=f"got {next(iter(settings))}=.*expected"):
        SamplingParams(**settings)


def test_a_top_k_of_zero_means_no_limit():
    assert SamplingParams(top_k=0) == SamplingParams(top_k=None)
    assert SamplingParams(top_k=0).top_k is None
    assert SamplingParams(no_repeat_ngram_size=0, repetition_penalty=1) == SamplingParams()


def test_one_stop_string_and_a_list_of_it_are_equal():
    assert SamplingParams(stop="END") == SamplingParams(stop=["END"]) == SamplingParams(stop=("END",))
    assert SamplingParams(stop="END").stop == ("END",)


def test_settings_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SamplingParams().top_k = 3


def test_keywords_replace_the_fields_of_the_given_params():
    params = SamplingParams(n=2, top_k=7, stop="x", seed=3)
    assert SamplingParams.of(params, {}) == params
    assert SamplingParams.of(params, {"top_k": 9}) == replace(params, top_k=9)
    assert SamplingParams.of(None, {"temperature": 0.5, "seed": 1}) == SamplingParams(temperature=0.5, seed=1)


def test_an_unknown_keyword_is_refused_with_the_known_ones():
    known = ", ".join(field.name for field in fields(SamplingParams))
    with pytest.raises(InvalidSetting, match=f"'chat'; the arguments are: {known}"):
        SamplingParams.of(None, {"chat": True})


def test_a_seed_is_drawn_only_where_none_is_given():
    params = SamplingParams(seed=0)
    assert params.with_seed() is params
    drawn = {SamplingParams().with_seed().seed for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= seed < 2**63 for seed in drawn)


def test_more_candidates_than_tokens_are_refused():
    SamplingParams(top_k=64).check_vocabulary(64)
    SamplingParams(top_k=None).check_vocabulary(64)
    with pytest.raises(InvalidSetting, match="got top_k=65, expected at most the vocabulary size, 64"):
        SamplingParams(top_k=65).check_vocabulary(64)


def test_the_keyword_types_name_every_field():
    names = {field.name for field in fields(SamplingParams)}
    assert set(get_type_hints(SamplingOptions)) == names
    assert set(get_type_hints(DraftOptions)) == names - {"n"}


def test_top_p_of_one_is_no_limit():
    assert SamplingParams(top_p=1.0) == SamplingParams()
    assert SamplingParams(top_p=0.9).top_p == 0.9
