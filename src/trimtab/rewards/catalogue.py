"""Where rewards are: bundled with the package, in a folder, or on the Hub; no torch here."""

from pathlib import Path

from trimtab.errors import RewardNotFound
from trimtab.rewards.card import CARD_FILE, RewardCard, read_card

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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        names = ", ".join(bundled_rewards())
        raise RewardNotFound(
            f"got reward {name!r}, expected one of: {names}; or a folder, or a Hub id that can be reached"
        ) from error
