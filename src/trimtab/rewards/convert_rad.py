"""Convert the checkpoints that RAD's authors released (2310.09520): state dicts of GPT-2 with a linear head."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from trimtab.errors import CorruptReward, InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.network import build_network, reward_tensors
from trimtab.rewards.reward_model import RewardModel

WRAPPERS = ("module.", "model.")
OLD_BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks that older transformers saved
TRUNK, HEAD = "transformer.", "lm_head."


def convert_rad(file: Path, base: FrozenLM, attributes: Sequence[str], name: str = "reward") -> RewardModel:
    """Convert a released RAD checkpoint to a reward.

    The state dict has `model.transformer.*` of GPT-2 and `model.lm_head.*` with one output per attribute. The file is
    a pickle; only tensors are read from it. No BOS is put before texts, as in RAD's code.

    Args:
        file: the state dict.
        base: the GPT-2 of the same tokenizer and shape; the reward takes its weights from the file.
        attributes: a name for each output, in order; for the Jigsaw model toxicity, severe_toxicity, obscene,
            identity_attack, insult, threat, sexual_explicit.
        name: the reward's name.

    Raises:
        CorruptReward: the file is no such state dict, or does not have the base's shape.
        InvalidSetting: the number of outputs is not the number of attributes.
    """
    tensors = _renamed(_load(file))
    if "head.value.weight" not in tensors:
        raise CorruptReward(f"{str(file)!r} has no lm_head.weight, expected a RAD reward model's state dict")
    if (outputs := len(tensors["head.value.weight"])) != len(attributes):
        raise InvalidSetting(f"got {len(attributes)} attributes for a head of {outputs} outputs, expected one for each")
    card = RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        layers=base.layers,
        head="v",
        attributes=tuple(attributes),
        trunk="full",
        provenance={"imported from": file.name, "as": "RAD's released layout"},
    )
    network = build_network(base, card)
    expected = {name: weight.shape for name, weight in reward_tensors(network, card.trunk).items()}
    found = {name: weight.shape for name, weight in tensors.items()}
    if wrong := [name for name in expected | found if expected.get(name) != found.get(name)]:
        raise CorruptReward(f"{str(file)!r} does not fit {base.name} in {len(wrong)} tensors, first {min(wrong)!r}")
    network.load_state_dict(tensors)
    return RewardModel(network, card, base, name)


def _load(file: Path) -> Mapping[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CorruptReward(
            f"cannot read {str(file)!r} as tensors alone: it is no PyTorch file, is damaged, or holds other objects"
        ) from error
    if not isinstance(loaded, Mapping) or not all(isinstance(weight, Tensor) for weight in loaded.values()):
        raise CorruptReward(f"got {type(loaded).__name__} in {str(file)!r}, expected a state dict: names and tensors")
    return loaded


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, weight in tensors.items():
        if name.endswith(OLD_BUFFERS):
            continue
        for wrapper in WRAPPERS:
            name = name.removeprefix(wrapper)
        name = "head.value." + name.removeprefix(HEAD) if name.startswith(HEAD) else "trunk." + name.removeprefix(TRUNK)
        renamed[name] = weight
    return renamed
