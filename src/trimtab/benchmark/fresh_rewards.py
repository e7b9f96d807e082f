"""Fresh rewards of the shapes that the rows name, and the steers of a batch."""

from dataclasses import replace
from typing import final

from trimtab.benchmark.reference import computed_by
from trimtab.benchmark.rows import RewardShape, Row
from trimtab.benchmark.subject import Subject
from trimtab.rewards.network import build_network
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer, Term
from trimtab.training.new_card import new_card

ATTRIBUTES = ("first", "second")
BETA = 1.0


@final
class FreshRewards:
    """The rewards of a subject. Each shape is built once.

    Args:
        subject: the model and the base of its rewards.
    """

    def __init__(self, subject: Subject):
        self.subject = subject
        self._built: dict[RewardShape, RewardModel] = {}

    def model(self, shape: RewardShape) -> RewardModel:
        """The reward model of a shape; all methods of RAD share one."""
        known = replace(shape, by="block mask")
        if known not in self._built:
            self._built[known] = self._fresh(known)
        return self._built[known]

    def steers(self, row: Row, batch: int) -> list[Steer | None]:
        """The steers of a batch: none, the same for all texts, or another one for each text."""
        if row.reward is None:
            return [None] * batch
        reward = computed_by(row.reward.by, self.model(row.reward))
        if not row.own_steers:
            return [steer_by(reward, BETA)] * batch
        return [steer_by(reward, BETA * (1 + text / batch), away=text % 2 == 1) for text in range(batch)]

    def _fresh(self, shape: RewardShape) -> RewardModel:
        """An untrained reward. Beside a smaller base no adapters are needed: its trunk is a model of its own."""
        subject, recipe = self.subject, shape.recipe
        own_base = subject.base is not subject.lm
        hosted = recipe.trunk not in ("lora", "full")
        if not hosted:
            recipe = replace(recipe, layers=subject.layers, trunk="frozen" if own_base else recipe.trunk)
        base = subject.lm if hosted else subject.base
        rank, rungs = min(recipe.rank, base.output_embedding.shape[1]), min(recipe.ladder_layers, base.layers)
        recipe = replace(recipe, rank=rank, ladder_layers=rungs)
        card = new_card(base, ATTRIBUTES[: shape.attributes], recipe)
        return RewardModel(build_network(base, card), card, base, merge_adapters=shape.merge_adapters)


def steer_by(reward: Reward, beta: float, away: bool = False) -> Steer:
    """A steer by all attributes of a reward: the first one this way, the next one the other way."""
    terms = [Term(reward, column, beta, away != (column % 2 == 1)) for column in range(len(reward.attributes))]
    return Steer(tuple(terms))
