"""The weights with which training begins."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from trimtab.data.files import shown_path
from trimtab.errors import InvalidSetting
from trimtab.rewards.card import WEIGHTS_FILE, TrunkTraining, read_card
from trimtab.rewards.heads import head_class
from trimtab.rewards.network import HEAD_PREFIX, RewardNetwork, is_reward_tensor, reward_tensors
from trimtab.rewards.weights import read_weights
from trimtab.training.distributed import evaluating

SCALE_TOKENS = 4096  # of one forward call that reads the states of a batch


def prepare_for_training(
    network: RewardNetwork, trunk: TrunkTraining, mean_rewards: Float[np.ndarray, " attributes"]
) -> None:
    """Turn on gradients for the reward's own weights, in float32, and let every prefix start at the mean reward."""
    for name, weight in network.named_parameters():
        trained = is_reward_tensor(name, trunk)
        weight.requires_grad_(trained)
        if trained:
            weight.data = weight.data.float()
    if (value := network.head.prefix_value) is not None:
        nn.init.zeros_(value.weight)
        value.bias.data.copy_(torch.as_tensor(mean_rewards))


def fit_ladder_scale(network: RewardNetwork, batch: Mapping[str, Tensor], bf16: bool) -> None:
    """Fit the scale of a network's ladder, if it has one, to a batch of texts with "ids" and "mask"."""
    if network.ladder is not None:
        with evaluating(network, bf16):
            ids, mask = (batch[part].to(network.trunk.device) for part in ("ids", "mask"))
            rows, read = max(1, SCALE_TOKENS // ids.shape[1]), []
            for some, seen in zip(ids.split(rows), mask.split(rows), strict=True):
                known, states = network.encoder.tapped(some, seen)
                read.append(states[known])
            network.ladder.fit_scale(torch.cat(read).unbind(1))


def start_from(network: RewardNetwork, trunk: TrunkTraining, folder: Path) -> int:
    """Copy a saved reward's weights into a network where name and shape agree; returns the number of such tensors.

    The linear map to the reward of a prefix is copied from head to head, whatever each head calls it.

    Raises:
        CorruptReward: the reward cannot be read.
        InvalidSetting: no matrix agrees.
    """
    card = read_card(folder)
    saved = _renamed(read_weights(folder / WEIGHTS_FILE, card.weights_sha256), card.head, network)
    own = reward_tensors(network, trunk)
    own.pop(f"{HEAD_PREFIX}embedding_scale", None)  # of the base's embedding
    copied = {name: saved[name] for name in own if name in saved and saved[name].shape == own[name].shape}
    if not any(weight.dim() > 1 for weight in copied.values()):
        raise InvalidSetting(
            f"got start={shown_path(folder)}, expected a reward that shares a weight's shape with this one"
        )
    network.load_state_dict(copied, strict=False)
    return len(copied)


def _renamed(saved: dict[str, Tensor], head: str, network: RewardNetwork) -> dict[str, Tensor]:
    there, here = head_class(head).prefix_value_name, network.head.prefix_value_name
    if there is None or here is None:
        return saved
    return {name.replace(f"{HEAD_PREFIX}{there}.", f"{HEAD_PREFIX}{here}."): weight for name, weight in saved.items()}
