"""The folder in which a reward is kept: config.json (the card) and reward.safetensors (its own weights)."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from trimtab.errors import CorruptReward
from trimtab.rewards.card import RewardCard, TrunkTraining
from trimtab.rewards.network import RewardNetwork, own_tensors

CARD_FILE = "config.json"
WEIGHTS_FILE = "reward.safetensors"


def read_card(folder: Path) -> RewardCard:
    """The card of a saved reward.

    Raises:
        CorruptReward: there is none, or it cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise CorruptReward(f"got {str(folder)!r}, expected a reward's folder; it has no {CARD_FILE}")
    return RewardCard.from_json(path.read_text(encoding="utf-8"))


def load_own_tensors(network: RewardNetwork, trunk: TrunkTraining, path: Path) -> None:
    """Put saved weights into a network, in the dtypes that the network has.

    Raises:
        CorruptReward: the file is missing, damaged, or holds other tensors than the network wants.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptReward(f"cannot read {str(path)!r}: {error}; fetch or train the reward again") from error
    expected = {name: weight.shape for name, weight in own_tensors(network, trunk).items()}
    found = {name: weight.shape for name, weight in tensors.items()}
    if wrong := [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]:
        raise CorruptReward(f"{str(path)!r} does not match its card in {len(wrong)} tensors, first {min(wrong)!r}")
    network.load_state_dict(tensors, strict=False)
