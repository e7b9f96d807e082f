"""The trainable half of a reward: a trunk and a head as one torch module."""

import copy
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from trimtab.errors import InvalidSetting
from trimtab.frozen.anatomy import share_first_layers
from trimtab.frozen.lm import FrozenLM
from trimtab.rewards.card import RewardCard, TrunkTraining
from trimtab.rewards.heads import QHead, VHead

LORA_MARK = "lora_"


class PrefixRewards(NamedTuple):
    """The reward of every prefix of some texts.

    Attributes:
        values: the head's answer for the text up to and including each token, `head.link` not yet applied; meaningless
            where `known` is False.
        known: False at padding, at BOS, and where a Q-head has no prefix to predict from.
        before: the trunk's hidden state from which a Q-head predicted each token (for a V-head: the token's own).
    """

    values: Float[Tensor, "rows tokens attributes"]
    known: Bool[Tensor, "rows tokens"]
    before: Float[Tensor, "rows tokens hidden"]


@final
class RewardNetwork(nn.Module):
    """A trunk and a head.

    Args:
        trunk: a decoder without its language-model head.
        head: a QHead or a VHead.
        bos_token_id: the token put before every text, unless it is there; None for none.
    """

    def __init__(self, trunk: PreTrainedModel, head: QHead | VHead, bos_token_id: int | None):
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.bos_token_id = bos_token_id

    @property
    def attributes(self) -> int:
        """How many rewards the head returns."""
        return self.head.attributes

    def forward(self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]) -> PrefixRewards:
        """Score every prefix of left-padded texts, in one forward."""
        tokens = ids.shape[1]
        ids, mask = self.with_bos(ids, mask)
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        hidden = self.trunk(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)[0]
        follows = mask & _shifted(mask)
        if isinstance(self.head, VHead):
            known = mask if self.bos_token_id is None else follows
            values, before = self.head(hidden), hidden
        else:
            known = follows
            before = functional.pad(hidden[:, :-1], (0, 0, 1, 0))
            values = self.head(before, ids[..., None]).squeeze(-2)
        return PrefixRewards(values[:, -tokens:], known[:, -tokens:], before[:, -tokens:])

    def with_bos(
        self, ids: Int[Tensor, "rows tokens"], mask: Bool[Tensor, "rows tokens"]
    ) -> tuple[Int[Tensor, "rows slots"], Bool[Tensor, "rows slots"]]:
        """Put BOS right before the first token of each left-padded row that does not start with it."""
        if self.bos_token_id is None:
            return ids, mask
        start = mask.shape[1] - mask.sum(1, keepdim=True)
        ids, mask = functional.pad(ids, (1, 0)), functional.pad(mask, (1, 0))
        first = ids.gather(1, (start + 1).clamp_max(ids.shape[1] - 1))
        missing = (first != self.bos_token_id) | ~mask.any(1, keepdim=True)
        before_start = torch.arange(ids.shape[1], device=ids.device) == start
        return ids.masked_fill(before_start, self.bos_token_id), mask | (before_start & missing)


def own_tensors(network: RewardNetwork, trunk: TrunkTraining) -> dict[str, Tensor]:
    """What a reward adds to its base: the head, and the adapters or the whole trunk if those were trained."""
    state = network.state_dict()
    return {name: state[name] for name in state if trunk == "full" or name.startswith("head.") or LORA_MARK in name}


def build_network(base: FrozenLM, card: RewardCard) -> RewardNetwork:
    """A fresh network of the shape that a card describes; a trunk that is not trained shares the base's tensors.

    Raises:
        InvalidSetting: more layers than the base has, or a higher rank than its hidden states have.
    """
    if card.layers > base.layers:
        raise InvalidSetting(f"got layers={card.layers}, expected at most the {base.layers} of {base.name}")
    hidden, attributes = base.output_embedding.shape[1], len(card.attributes)
    if card.head == "q" and card.rank > hidden:
        raise InvalidSetting(f"got rank={card.rank}, expected at most the hidden size, {hidden}")
    trunk = share_first_layers(base.body, card.layers)
    if card.trunk == "full":
        trunk = copy.deepcopy(trunk).requires_grad_(True)
    elif card.trunk == "lora":
        kinds = {type(part).__name__ for part in trunk.modules()}
        adapters = LoraConfig(
            r=card.lora_rank,
            lora_alpha=card.lora_alpha,
            target_modules=linear_names(trunk),
            fan_in_fan_out="Conv1D" in kinds,  # GPT-2 stores its linear maps transposed
        )
        trunk = inject_adapter_in_model(adapters, trunk)
    head: QHead | VHead
    if card.head == "q":
        head = QHead(base.output_embedding, attributes, card.rank, card.baseline, card.link)
    else:
        head = VHead(hidden, attributes, card.link)
    return RewardNetwork(trunk, head.to(base.device), card.bos_token_id)


def merge_adapters(network: RewardNetwork) -> RewardNetwork:
    """A network whose trunk has the adapters added into weights of its own: no longer shared, and no longer slower."""
    embeddings = {id(weight): weight for weight in network.trunk.get_input_embeddings().parameters()}
    trunk = copy.deepcopy(network.trunk, embeddings)
    for name, layer in list(trunk.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            trunk.set_submodule(name, layer.get_base_layer())
    return RewardNetwork(trunk, network.head, network.bos_token_id)


def linear_names(trunk: PreTrainedModel) -> list[str]:
    """The last names of all linear maps in the trunk's layers, GPT-2's Conv1D among them."""
    kinds = {"Linear", "Conv1D"}
    return sorted({name.rsplit(".", 1)[-1] for name, part in trunk.named_modules() if type(part).__name__ in kinds})


def _shifted(mask: Tensor) -> Tensor:
    return functional.pad(mask[:, :-1], (1, 0))
