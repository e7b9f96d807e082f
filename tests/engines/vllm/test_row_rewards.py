"""Which rewards the vLLM engine takes."""

import pytest

from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab.engines.vllm.row_rewards import check_steers
from trimtab.errors import InvalidSetting, UnsupportedByEngine

KEPT = [1, 2, 3]


def test_rewards_that_it_can_read_are_taken(llama):
    for reward in (tiny_ladder(llama), tiny_reward(llama, "q"), tiny_reward(llama, "q", "frozen", bos_token_id=None)):
        check_steers(reward.toward(1.0), llama, KEPT)
    check_steers(tiny_reward(tiny_lm("llama", seed=9), "q").toward(1.0), llama, KEPT)  # it has layers of its own
    check_steers(None, llama, KEPT)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda llama: tiny_reward(llama, "v"), "reads every candidate"),
        (lambda llama: tiny_ladder(tiny_lm("llama", seed=9)), "a ladder over tiny-llama"),
    ],
)
def test_rewards_that_it_cannot_read_are_refused_before_a_step(llama, reward, message):
    with pytest.raises(UnsupportedByEngine, match=message):
        check_steers(reward(llama).toward(1.0), llama, KEPT)


def own(llama, layers):
    return tiny_reward(llama, "q", "frozen", layers=layers, bos_token_id=None)


@pytest.mark.parametrize(
    ("reward", "missing"), [(lambda llama: own(llama, 2), "2"), (lambda llama: tiny_ladder(llama), "1, 2")]
)
def test_a_depth_that_the_model_does_not_keep_is_refused_with_how_to_keep_it(llama, reward, missing):
    with pytest.raises(InvalidSetting) as caught:
        check_steers(reward(llama).toward(1.0), llama, [3])
    assert f"at the depths {missing}, with the engine vllm, expected depths among 3, which" in str(caught.value)
    assert "taps" not in str(caught.value), "vLLM's class keeps the top alone, and can keep no other depth"
    kept = [1, 3] if missing == "2" else [2, 3]
    with pytest.raises(InvalidSetting) as caught:
        check_steers(reward(llama).toward(1.0), llama, kept)
    assert "engine_options={'taps': [1, 2, 3]}" in str(caught.value)
    assert '--additional-config \'{"trimtab": {"taps": [1, 2, 3]}}\'' in str(caught.value)


def test_what_reads_the_top_or_nothing_needs_no_other_depth(llama):
    for reward in (own(llama, 3), tiny_reward(llama, "q")):
        check_steers(reward.toward(1.0), llama, [3])
