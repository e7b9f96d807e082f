"""Convert the checkpoints that RAD's authors released (2310.09520): state dicts of GPT-2 with a linear head."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.errors import InvalidData, InvalidSetting, out_of_memory
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.network import build_network, reward_tensors
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.weights import first_non_finite
from trimtab.versions import versions

WRAPPERS = ("module.", "model.")
OLD_BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks that older transformers saved
TRUNK, HEAD = "transformer.", "lm_head."


@checked
def convert_rad(file: str | Path, base: FrozenLM, attributes: Sequence[str], name: str = "reward") -> RewardModel:
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
        InvalidData: the file cannot be read, is no such state dict, does not have the base's shape, or holds a number
            that is not finite.
        InvalidSetting: the number of outputs is not the number of attributes.
    """
    return reward_from_rad(read_rad(file, attributes), base, attributes, name, Path(file).name)


@checked
def read_rad(file: str | Path, attributes: Sequence[str]) -> dict[str, Tensor]:
    """Read a released checkpoint, and check it as far as that goes without its base. Arguments as in `convert_rad`.

    Returns:
        The tensors by the names that a reward has for them.
    """
    if not all(attributes) or not 0 < len(attributes) == len(set(attributes)):
        raise InvalidSetting(f"got attributes {shown(list(attributes))}, expected one or more different names")
    tensors = _renamed(_load(file))
    if "head.value.weight" not in tensors or not tensors["head.value.weight"].dim():
        raise InvalidData(f"{shown_path(file)} has no lm_head.weight, expected a RAD reward model's state dict")
    if (outputs := len(tensors["head.value.weight"])) != len(attributes):
        raise InvalidSetting(f"got {len(attributes)} attributes for a head of {outputs} outputs, expected one for each")
    if bad := first_non_finite(tensors):
        raise InvalidData(
            f"{shown_path(file)} is damaged: {shown(bad)} has a number that is not finite; fetch the file again"
        )
    return tensors


def reward_from_rad(
    tensors: Mapping[str, Tensor], base: FrozenLM, attributes: Sequence[str], name: str, file: str
) -> RewardModel:
    """Make a reward of the tensors that `read_rad` returned.

    Args:
        tensors: the weights.
        base, attributes, name: as in `convert_rad`.
        file: the name of their file, for the card.

    Raises:
        InvalidData: they do not have the base's shape.
    """
    card = RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        base_weights_fingerprint=base.base_weights_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        layers=base.layers,
        head="v",
        attributes=tuple(attributes),
        trunk="full",
        provenance={"imported from": file, "as": "RAD's released layout", **versions()},
    )
    network = build_network(base, card)
    expected = {name: weight.shape for name, weight in reward_tensors(network, card.trunk).items()}
    found = {name: weight.shape for name, weight in tensors.items()}
    if wrong := [name for name in expected | found if expected.get(name) != found.get(name)]:
        raise InvalidData(f"{shown(file)} does not fit {base.name} in {len(wrong)} tensors, first {shown(min(wrong))}")
    network.load_state_dict(tensors)
    return RewardModel(network, card, base, name)


def _load(file: str | Path) -> Mapping[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive or pickle may raise anything
        if out_of_memory(error):
            raise
        reason = error.strerror if isinstance(error, OSError) else "no PyTorch file, a damaged one, or other objects"
        raise InvalidData(
            f"cannot read {shown_path(file)} as tensors alone ({reason}); fetch the file again"
        ) from error
    is_state = isinstance(loaded, Mapping) and all(isinstance(weight, Tensor) for weight in loaded.values())
    if not is_state or not all(isinstance(name, str) for name in loaded):
        raise InvalidData(
            f"got {type(loaded).__name__} in {shown_path(file)}, expected a state dict: names and tensors"
        )
    return loaded


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by our names; old buffers are left out."""
    return {_our_name(name): weight for name, weight in tensors.items() if not name.endswith(OLD_BUFFERS)}


def _our_name(name: str) -> str:
    bare = reduce(str.removeprefix, WRAPPERS, name)
    return f"head.value.{bare.removeprefix(HEAD)}" if bare.startswith(HEAD) else f"trunk.{bare.removeprefix(TRUNK)}"
