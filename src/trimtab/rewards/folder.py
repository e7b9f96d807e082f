"""The folder of a saved reward: its card, its model card for people, and its own weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from trimtab.checking import shown
from trimtab.data.files import shown_path, why_not_written
from trimtab.data.folders import whole_folder
from trimtab.data.outputs import write_whole
from trimtab.errors import CorruptReward, InvalidOutput
from trimtab.rewards.base_path import recorded_base
from trimtab.rewards.card import CARD_FILE, README_FILE, WEIGHTS_FILE, RewardCard, TrunkTraining
from trimtab.rewards.model_card import model_card
from trimtab.rewards.network import RewardNetwork, reward_tensors
from trimtab.rewards.target import check_target
from trimtab.rewards.weights import read_weights, save_weights


def write_reward(folder: Path, card: RewardCard, tensors: Mapping[str, Tensor]) -> None:
    """Write a reward: its weights, its card with the hash of the weights, and its model card.

    A base in a folder is recorded relative to the reward's folder, so that both can move together.

    Raises:
        InvalidSetting: the folder holds other files.
        InvalidOutput: the folder cannot be written, for example because the disk is full.
        TrainingDiverged: a weight is not finite.
    """
    check_target(folder)
    try:
        with whole_folder(folder, replace=True) as partial:
            dtype, digest = save_weights(tensors, partial / WEIGHTS_FILE)
            base = recorded_base(card.base, folder)
            write_card(partial, replace(card, base=base, weights_dtype=dtype, weights_sha256=digest), folder.name)
    except (OSError, SafetensorError) as error:
        reason = why_not_written(error)
        raise InvalidOutput(
            f"cannot save the reward in {shown_path(folder)}: {reason}; an older one is kept"
        ) from error


def write_card(folder: Path, card: RewardCard, name: str | None = None) -> None:
    """Write a reward's card, and the model card for people beside it. Each file is replaced as a whole.

    Args:
        folder: an existing folder.
        card: the card.
        name: the reward's name in the model card; default: the folder's.
    """
    write_whole(folder / CARD_FILE, card.to_json())
    write_whole(folder / README_FILE, model_card(card, name or folder.name))


def load_own_tensors(network: RewardNetwork, trunk: TrunkTraining, path: Path) -> None:
    """Load saved weights into a network.

    Args:
        network: a network of the same shape.
        trunk: how its trunk was trained.
        path: the safetensors file.

    Raises:
        CorruptReward: the file is missing, is damaged, or holds other tensors than the network has.
    """
    put_own_tensors(network, trunk, read_weights(path), path)


def put_own_tensors(network: RewardNetwork, trunk: TrunkTraining, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a network; they are cast to the network's dtypes.

    Args:
        network, trunk: as in `load_own_tensors`.
        tensors: the weights by name.
        path: the file that held them, for the message.

    Raises:
        CorruptReward: they are other tensors than the network has.
    """
    expected = {name: weight.shape for name, weight in reward_tensors(network, trunk).items()}
    found = {name: weight.shape for name, weight in tensors.items()}
    if wrong := [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]:
        raise CorruptReward(f"{str(path)!r} does not match its card in {len(wrong)} tensors, first {shown(min(wrong))}")
    network.load_state_dict(tensors, strict=False)
