"""The trainable half of a reward: a trunk and a head as one torch module."""

from typing import final

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard, TrunkTraining
from trimtab.rewards.heads import check_ladder, head_class
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.ladder import Ladder
from trimtab.rewards.trunk import PrefixEncoder, build_ladder, build_trunk

HEAD_PREFIX = "head."
LADDER_PREFIX = "ladder."
LORA_MARK = "lora_"


@final
class RewardNetwork(nn.Module):
    """A trunk, a ladder over it if there is one, and a head.

    Args:
        trunk: a decoder without its language-model head.
        head: scores the trunk's hidden states.
        bos_token_id: the token put before every text, unless the text starts with it; None for none.
        ladder: the side network that reads the trunk; None for none.
    """

    def __init__(
        self, trunk: PreTrainedModel, head: RewardHead, bos_token_id: int | None, ladder: Ladder | None = None
    ):
        super().__init__()
        self.trunk = trunk
        self.ladder = ladder
        self.head = head
        self.bos_token_id = bos_token_id

    def train(self, mode: bool = True) -> "RewardNetwork":
        """Turn dropout on or off; never in a trunk that is not trained, because it steers without."""
        super().train(mode)
        if not any(weight.requires_grad for weight in self.trunk.parameters()):
            self.trunk.eval()
        return self

    @property
    def attributes(self) -> int:
        """How many rewards the head returns."""
        return self.head.attributes

    @property
    def encoder(self) -> PrefixEncoder:
        """The trunk with its BOS, as the head takes it."""
        return PrefixEncoder(self.trunk, self.bos_token_id, self.ladder)

    def forward(
        self,
        ids: Int[Tensor, "rows tokens"],
        mask: Bool[Tensor, "rows tokens"],
        tapped: Float[Tensor, "rows slots taps hidden"] | None = None,
    ) -> PrefixRewards:
        """Score every prefix of left-padded texts, in one forward. Arguments as in `PrefixEncoder.encode`."""
        scored = self.head.score_prefixes(self.encoder.encode(ids, mask, tapped))
        return PrefixRewards(*(part[:, -ids.shape[1] :] for part in scored))


def is_reward_tensor(name: str, trunk: TrunkTraining) -> bool:
    """Whether a tensor belongs to the reward: the head, the ladder, the adapters, or the whole trunk if trained."""
    return trunk == "full" or name.startswith((HEAD_PREFIX, LADDER_PREFIX)) or LORA_MARK in name


def reward_tensors(network: RewardNetwork, trunk: TrunkTraining) -> dict[str, Tensor]:
    """The tensors that a reward adds to its base. Only these are trained and saved."""
    return {name: weight for name, weight in network.state_dict().items() if is_reward_tensor(name, trunk)}


def build_network(base: FrozenLM, card: RewardCard) -> RewardNetwork:
    """A fresh network of the shape that a card describes; a trunk that is not trained shares the base's tensors.

    Raises:
        InvalidSetting: the card asks for more layers, or a higher rank, than the base has, or for a BOS that it lacks,
            or for a ladder with a head that cannot read it.
    """
    if card.bos_token_id is not None and card.bos_token_id >= base.vocabulary_size:
        raise InvalidSetting(f"got bos_token_id={card.bos_token_id}, expected less than {base.vocabulary_size}")
    check_ladder(card.trunk, card.head)
    trunk = build_trunk(base, card)
    head = head_class(card.head).build(card, base.output_embedding)
    head.scale_logits(base.logit_scale)
    ladder = build_ladder(base, card)
    return RewardNetwork(
        trunk, head.to(base.device), card.bos_token_id, None if ladder is None else ladder.to(base.device)
    )
