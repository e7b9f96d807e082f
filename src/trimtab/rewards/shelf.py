"""Finding rewards: bundled with the package, in a folder, or on the Hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from trimtab.errors import RewardNotFound
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.sources import load_frozen
from trimtab.rewards.card import RewardCard
from trimtab.rewards.folder import CARD_FILE, read_card
from trimtab.rewards.model import RewardModel

BUNDLED = Path(__file__).parent / "bundled"
RAD_SUFFIX = "-rad"


def bundled_rewards() -> dict[str, RewardCard]:
    """The rewards that ship in the package, by name; "NAME" is an ARM (Q-head), "NAME-rad" its RAD (V-head)."""
    return {path.parent.name: read_card(path.parent) for path in sorted(BUNDLED.glob(f"*/{CARD_FILE}"))}


def find_reward(name: str) -> Path:
    """The folder of a reward: a bundled name, a local folder, or a Hub id, which is downloaded.

    Raises:
        RewardNotFound: none of these; the message lists what is bundled.
    """
    if (BUNDLED / name / CARD_FILE).is_file():
        return BUNDLED / name
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        names = ", ".join(bundled_rewards())
        raise RewardNotFound(
            f"got reward {name!r}, expected one of: {names}; or a folder, or a Hub id that can be reached"
        ) from error


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
