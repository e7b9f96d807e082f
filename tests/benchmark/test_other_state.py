"""A reward with another per-request state."""

from tiny import tiny_reward
from trimtab.benchmark.other_state import OtherState
from trimtab.steering.reward import Reward


def test_everything_but_the_state_is_the_rewards_own(llama):
    reward, hosts = tiny_reward(llama, "q", trunk="frozen", layers=3, bos_token_id=None), []
    other = OtherState(reward, lambda host: hosts.append(host) or reward.start(host))
    assert isinstance(other, Reward)
    for name in ("name", "attributes", "extra_tokens", "pad_token_id", "context_length"):
        assert getattr(other, name) == getattr(reward, name)
    assert other.describe() == reward.describe()
    assert other.reads(llama.model) == reward.reads(llama.model) is not None
    assert type(other.start()) is type(reward.start())
    assert hosts == [None]
