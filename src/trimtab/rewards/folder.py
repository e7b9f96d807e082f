"""The folder of a saved reward: its card, its model card for people, and its own weights."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from trimtab.errors import CorruptReward, InvalidSetting
from trimtab.rewards.card import CARD_FILE, RewardCard, TrunkTraining
from trimtab.rewards.model_card import model_card
from trimtab.rewards.network import RewardNetwork, reward_tensors

WEIGHTS_FILE = "reward.safetensors"
README_FILE = "README.md"


def check_target(folder: Path) -> None:
    """Check that nothing but a reward would be replaced.

    Raises:
        InvalidSetting: the path is a file, or a folder that holds other files.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidSetting(
            f"got {str(folder)!r} to save a reward in, expected a folder, it is a file; choose another path"
        )
    others = (
        {path.name for path in folder.iterdir()} - {CARD_FILE, WEIGHTS_FILE, README_FILE} if folder.exists() else set()
    )
    if others:
        raise InvalidSetting(
            f"got {str(folder)!r} to save a reward in, expected a new or empty folder, it holds {min(others)!r}; "
            "choose another path"
        )


def write_card(folder: Path, card: RewardCard) -> None:
    """Write a reward's card, and the model card for people beside it. Each file is replaced as a whole."""
    for name, text in ((CARD_FILE, card.to_json()), (README_FILE, model_card(card, folder.name))):
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)


def load_own_tensors(network: RewardNetwork, trunk: TrunkTraining, path: Path) -> None:
    """Load saved weights into a network; they are cast to the network's dtypes.

    Raises:
        CorruptReward: the file is missing, is damaged, or holds other tensors than the network has.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptReward(f"cannot read {str(path)!r}: {error}; fetch or train the reward again") from error
    expected = {name: weight.shape for name, weight in reward_tensors(network, trunk).items()}
    found = {name: weight.shape for name, weight in tensors.items()}
    if wrong := [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]:
        raise CorruptReward(f"{str(path)!r} does not match its card in {len(wrong)} tensors, first {min(wrong)!r}")
    network.load_state_dict(tensors, strict=False)
