"""HaF-RM's policy loss: the trunk of a reward also learns as a language model which text is preferred (2407.04185)."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads.base import PrefixRewards, RewardHead
from trimtab.rewards.heads.lm_head import LMHead
from trimtab.rewards.network import RewardNetwork, build_network
from trimtab.rewards.registry import find_reward
from trimtab.training.batches import by_length
from trimtab.training.distributed import evaluating
from trimtab.training.examples import Examples, TokenizedPairs
from trimtab.training.initial_weights import start_from
from trimtab.training.objectives import Loss, policy_preference
from trimtab.training.pair_batches import collate_pairs
from trimtab.training.recipe import PairSettings, Recipe

REFERENCE = "reference"
BATCH = 16  # pairs


@final
class PolicyLoss:
    """A DPO-style loss on the trunk's states, read by the base's output embedding.

        −log σ(τ ([log π(y⁺) − log π₀(y⁺)] − [log π(y⁻) − log π₀(y⁻)]))

    π is the trunk with the base's frozen output embedding, π₀ the same before training. The language-model head has no
    weights of its own, and nothing of it is saved: the reward costs what it costs without this loss.

    Differs from the paper: the trunk may be the first layers of the base, and only its adapters may be trained.

    Args:
        settings: α and τ.
        base: gives the output embedding, and the scale of its logits.
    """

    def __init__(self, settings: PairSettings, base: FrozenLM):
        self._alpha, self._temperature = settings.policy_loss, settings.policy_temperature
        self._head = LMHead(base.output_embedding, base.logit_scale)

    def added(self, reward: Loss, scored: PrefixRewards, head: RewardHead, batch: Mapping[str, Tensor]) -> Loss:
        """The reward's loss plus α times the policy loss, over the same pairs."""
        log_probs, known = token_log_probs(self._head, scored, head, batch["ids"])
        policy = policy_preference(log_probs, known, batch[REFERENCE], self._temperature)
        return Loss(reward.total + self._alpha * policy.total, reward.items)


def token_log_probs(
    reader: LMHead, scored: PrefixRewards, head: RewardHead, ids: Tensor
) -> tuple[Float[Tensor, "texts tokens 1"], Bool[Tensor, "texts tokens"]]:
    """log π of each token from the state before it, and where there is such a state."""
    before, known = scored.before, scored.known
    if head.scores_behind:
        before = functional.pad(before[:, :-1], (0, 0, 1, 0))
        known = known & functional.pad(known[:, :-1], (1, 0))
    return reader.token_log_probs(before, ids), known


@final
class ReferencedPairs(Examples):
    """Pairs with the log-probability of each text before training.

    Args:
        pairs: the pairs.
        base, card, recipe: of the reward that will be trained on them.
    """

    def __init__(self, pairs: TokenizedPairs, base: FrozenLM, card: RewardCard, recipe: Recipe):
        self._pairs = pairs
        numbered = [{**example, "number": number} for number, example in enumerate(pairs.examples)]
        network, reader = build_network(base, card), LMHead(base.output_embedding, base.logit_scale)
        if recipe.start is not None:
            start_from(network, card.trunk, find_reward(recipe.start))
        self._reference = [(0.0, 0.0)] * len(numbered)
        with evaluating(network, recipe.bf16):
            for some in by_length(numbered, BATCH):
                for example, of_pair in zip(some, _log_probs(network, reader, some, base.pad_token_id), strict=True):
                    self._reference[example["number"]] = of_pair

    @property
    def digest(self) -> str:
        """A hash of the pairs; the log-probabilities follow from them."""
        return self._pairs.digest

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self._pairs[index], REFERENCE: self._reference[index]}


def collate_references(examples: Sequence[Mapping[str, Any]]) -> Float[Tensor, " texts"]:
    """log π₀ of all chosen texts, then of all rejected ones."""
    return torch.tensor([example[REFERENCE][side] for side in (0, 1) for example in examples])


def _log_probs(
    network: RewardNetwork, reader: LMHead, examples: Sequence[Mapping[str, Any]], pad_token_id: int
) -> list[tuple[float, float]]:
    """log π₀ of the two texts of each pair."""
    device = network.trunk.device
    batch = {name: part.to(device) for name, part in collate_pairs(examples, pad_token_id).items()}
    scored = network(batch["ids"], batch["mask"])
    log_probs, known = token_log_probs(reader, scored, network.head, batch["ids"])
    chosen, rejected = log_probs[..., 0].float().masked_fill(~known, 0).sum(1).chunk(2)
    return list(zip(chosen.tolist(), rejected.tolist(), strict=True))
