"""Find and load rewards: bundled with the package, in a folder, or on the Hub. Importing this file imports no torch."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import InvalidSetting, RewardNotFound
from trimtab.rewards.card import CARD_FILE, RewardCard, read_card
from trimtab.rewards.heads import HEADS, head_of_method
from trimtab.steering.notation import parse_steer

if TYPE_CHECKING:
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.steering.steer import Steer

BUNDLED = Path(__file__).parent / "bundled"


def bundled_rewards() -> dict[str, RewardCard]:
    """The cards of the rewards in the package, by name; the suffix of a name tells the head, see `HEADS`."""
    return {path.parent.name: read_card(path.parent) for path in sorted(BUNDLED.glob(f"*/{CARD_FILE}"))}


def find_reward(name: str) -> Path:
    """The folder of a reward. A reward on the Hub is downloaded.

    Args:
        name: a bundled name, a local folder, or a Hub id.

    Raises:
        RewardNotFound: no reward of that name; the message lists the bundled ones.
    """
    if (BUNDLED / name / CARD_FILE).is_file():
        return BUNDLED / name
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        names = ", ".join(bundled_rewards())
        raise RewardNotFound(
            f"got reward {name!r}, expected one of: {names}; or a folder, or a Hub id that can be reached"
        ) from error


def load_reward(name: str, lm: "FrozenLM | None" = None) -> "RewardModel":
    """Load a reward.

    Args:
        name: a bundled name, a folder, or a Hub id.
        lm: the language model to steer. If it is the reward's base, its weights are shared; otherwise the base is
            loaded to the same device and dtype.

    Raises:
        RewardNotFound: no reward of that name.
        RewardMismatch: the tokenizer of `lm` is not the reward's.
        CorruptReward: the folder is damaged.
    """
    from trimtab.models.loading import load_frozen_lm
    from trimtab.rewards.reward_model import RewardModel

    def load_base(base: str) -> "FrozenLM":
        return load_frozen_lm(base, str(lm.device) if lm else None, lm.model.dtype if lm else None)

    return RewardModel.from_folder(find_reward(name), load_base, lm, name)


def load_by_method(name: str, method: str | None, base: "FrozenLM | None" = None) -> "RewardModel":
    """Load a reward, and check its decoding method.

    Args:
        name: as in `load_reward`. With a method, NAME also finds the bundled reward of that method, such as NAME-rad.
        method: "arm", "rad" or another method of `HEADS`; None for any.
        base: the language model to steer.

    Raises:
        InvalidSetting: an unknown method, or the reward has another one.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    if method is None:
        return load_reward(name, base)
    wanted = head_of_method(method)
    of_method = name + HEADS[wanted].bundled_suffix
    found = load_reward(of_method if of_method in bundled_rewards() else name, base)
    if found.card.head != wanted:
        has = HEADS[found.card.head].method
        raise InvalidSetting(f"got method {method!r} for {name!r}, expected {has!r}; leave the method out")
    return found


def load_steers(texts: Sequence[str], method: str | None = None, base: "FrozenLM | None" = None) -> "Steer | None":
    """The sum of steers given as text; None for no text. Each reward is loaded once.

    Args:
        texts: NAME[:ATTRIBUTE]=±BETA each; below 0 steers away from high rewards.
        method, base: as in `load_by_method`.

    Raises:
        InvalidSetting: a text of another form, or as in `load_by_method`.
        UnknownAttribute: a reward has no attribute of that name.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    typed = [parse_steer(text) for text in texts]
    rewards = {name: load_by_method(name, method, base) for name in dict.fromkeys(steer.reward for steer in typed)}
    steers = [
        (rewards[t.reward].away if t.beta < 0 else rewards[t.reward].toward)(abs(t.beta), t.attribute) for t in typed
    ]
    return reduce(add, steers) if steers else None
