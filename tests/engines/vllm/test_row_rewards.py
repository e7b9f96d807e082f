"""Which rewards the vLLM engine takes."""

import pytest

from tiny import tiny_ladder, tiny_lm, tiny_reward
from trimtab.engines.vllm.row_rewards import check_steers
from trimtab.errors import UnsupportedByEngine


def test_rewards_that_it_can_read_are_taken(llama):
    for reward in (tiny_ladder(llama), tiny_reward(llama, "q"), tiny_reward(llama, "q", "frozen", bos_token_id=None)):
        check_steers(reward.toward(1.0), llama)
    check_steers(tiny_reward(tiny_lm("llama", seed=9), "q").toward(1.0), llama)  # it has layers of its own
    check_steers(None, llama)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda llama: tiny_reward(llama, "v"), "reads every candidate"),
        (lambda llama: tiny_ladder(tiny_lm("llama", seed=9)), "a ladder over tiny-llama"),
    ],
)
def test_rewards_that_it_cannot_read_are_refused_before_a_step(llama, reward, message):
    with pytest.raises(UnsupportedByEngine, match=message):
        check_steers(reward(llama).toward(1.0), llama)
