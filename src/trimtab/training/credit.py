"""A sequence reward, shared among the tokens of the text by attention (ABC, "dense reward for free", ICML 2024)."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.layers import share_tensors
from trimtab.rewards.heads import HEADS
from trimtab.rewards.network import RewardNetwork
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.batches import by_length
from trimtab.training.distributed import evaluating
from trimtab.training.target import Target
from trimtab.training.text_teacher import AnyTeacher

BATCH = 16  # texts


def check_credits(teacher: AnyTeacher) -> RewardModel:
    """The teacher, if it has one reward per text, and attention of its own.

    Raises:
        InvalidSetting: it scores texts of another tokenizer, has another head, or is a ladder.
    """
    able = isinstance(teacher, RewardModel) and HEADS[teacher.card.head].scores_texts and teacher.card.trunk != "ladder"
    if not isinstance(teacher, RewardModel) or not able:
        raise InvalidSetting(
            f"got the teacher {shown(teacher.name)} with credit='attention', expected a reward of the student's "
            "tokenizer with a V-head on layers of its own, such as toxicity-rad"
        )
    return teacher


def token_credits(
    rewards: Float[Tensor, "texts attributes"],
    attention: Float[Tensor, "texts tokens"],
    known: Bool[Tensor, "texts tokens"],
    share: float,
) -> Float[Tensor, "texts tokens attributes"]:
    """Share the reward r of each text among its tokens, so that they sum to r.

        credit_t = β r a_t, and (1 − β) r more at the last token

    Args:
        rewards: r.
        attention: from the last token to each token, averaged over heads.
        known: False at padding and at BOS, which get nothing; the last token is known.
        share: β; at 0 the last token has all of r, as without credits.
    """
    inside = attention.float().masked_fill(~known, 0)
    weights = inside / inside.sum(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    credits = share * weights[..., None] * rewards[:, None]
    credits[:, -1] += (1 - share) * rewards
    return credits


def credit_targets(
    teacher: RewardModel, base: FrozenLM, texts: Sequence[Sequence[int]], share: float, bf16: bool
) -> list[Target]:
    """The summed credits up to each token, as a teacher's rewards whose differences a student learns.

    Args:
        teacher: as `check_credits` returns it.
        base: the student's; it pads the batches.
        texts: token ids.
        share: β.
        bf16: compute in bfloat16.
    """
    network = _attentive(teacher.network)
    found: list[Target | None] = [None] * len(texts)
    numbered = [{"number": number, "length": len(ids), "ids": ids} for number, ids in enumerate(texts)]
    with evaluating(network, bf16):
        for some in by_length(numbered, BATCH):
            for example, target in zip(
                some, _credited(network, base, [each["ids"] for each in some], share), strict=True
            ):
                found[example["number"]] = target
    return [target for target in found if target is not None]


def _credited(network: RewardNetwork, base: FrozenLM, texts: Sequence[Sequence[int]], share: float) -> Iterator[Target]:
    batch = base.batch(texts)
    ids, mask = network.encoder.with_bos(batch.ids, batch.mask)
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    output = network.trunk(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, output_attentions=True
    )
    width = batch.ids.shape[1]
    attention = output.attentions[-1][:, :, -1, -width:].float().mean(1)
    scored = network(batch.ids, batch.mask)
    rewards = network.head.link(scored.values[:, -1]).float()
    summed = token_credits(rewards, attention, batch.mask, share).cumsum(1).cpu()
    attributes = rewards.shape[1]
    nowhere = torch.zeros(0, dtype=torch.int32)
    none = torch.zeros(0, 0, dtype=torch.int32)
    for row, text in enumerate(texts):
        known = torch.ones(len(text), dtype=torch.bool)
        rewards_of_none = torch.zeros(0, 0, attributes)
        yield Target(summed[row, -len(text) :], known, nowhere, none, rewards_of_none, none.bool())


def _attentive(network: RewardNetwork) -> RewardNetwork:
    """A copy that returns its attention weights; it shares all tensors."""
    copied = share_tensors(network)
    copied.trunk.set_attn_implementation("eager")
    return copied
