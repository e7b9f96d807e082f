"""Loading a reward by name, onto the language model that it is to steer."""

from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.sources import load_frozen
from trimtab.rewards.catalogue import find_reward
from trimtab.rewards.model import RewardModel


def load_reward(name: str, lm: FrozenLM | None = None) -> RewardModel:
    """Load a reward.

    Args:
        name: bundled, a folder, or a Hub id.
        lm: the language model to steer. Its weights are shared where it is the reward's base; else the base is loaded
            to the same device and dtype.

    Raises:
        RewardNotFound: nothing of that name.
        RewardMismatch: the tokenizer of `lm` is not the reward's.
        CorruptReward: the folder is damaged.
    """

    def load_base(base: str) -> FrozenLM:
        return load_frozen(base, str(lm.device) if lm else None, lm.model.dtype if lm else None)

    return RewardModel.from_folder(find_reward(name), load_base, lm)
