"""The rewards that a server may steer by: registered by name when it starts; requests name them, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, final

from trimtab.checking import shown
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewards.experts import Experts
from trimtab.rewards.heads import HEADS
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.server.api_errors import APIError
from trimtab.server.schemas import SteerTerm
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Clamp, Steer, Term


@final
@dataclass(frozen=True)
class RegisteredReward:
    """A reward under its public name.

    Attributes:
        name: what requests call it.
        reward: the reward.
        clamp: the range to which it is clamped; None for no clamp.
        method: "arm", "rad", "genarm", or None if it has none, as experts.
    """

    name: str
    reward: Reward
    clamp: Clamp | None = (0.0, 1.0)
    method: str | None = None

    @classmethod
    def of(cls, name: str, reward: AnyReward) -> "RegisteredReward":
        """A loaded reward; its records name it as requests do, and no folder of this machine."""
        if isinstance(reward, Experts):
            return cls(name, reward.renamed(name), None)
        model = reward.original if isinstance(reward, RetokenizedReward) else reward
        public = model.renamed(name)
        served = RetokenizedReward(public, reward.lm) if isinstance(reward, RetokenizedReward) else public
        return cls(name, served, model.card.clamp, HEADS[model.card.head].method)

    def about(self) -> dict[str, Any]:
        """The reward in `/v1/rewards`."""
        return {
            "id": self.name,
            "object": "reward",
            "attributes": list(self.reward.attributes),
            "method": self.method,
            "clamp": self.clamp,
            "fingerprint": self.reward.describe().get("fingerprint"),
        }


@final
class RewardShelf:
    """Registered rewards, and steers by them."""

    def __init__(self, rewards: Sequence[RegisteredReward]):
        self._rewards = {each.name: each for each in rewards}

    def about(self) -> list[dict[str, Any]]:
        """All rewards, by name."""
        return [self._rewards[name].about() for name in sorted(self._rewards)]

    def steer(self, terms: Mapping[str, SteerTerm], field: str = "steer") -> Steer | None:
        """The sum of a request's terms; None for none.

        Args:
            terms: by the names of rewards.
            field: the request's field, for messages.

        Raises:
            APIError: 400, no such reward, attribute or method.
        """
        steers = [
            self._term(name, term, f"{field}.{name}" if field == "steer" else field) for name, term in terms.items()
        ]
        return reduce(add, steers) if steers else None

    def _term(self, name: str, term: SteerTerm, field: str) -> Steer:
        found = self._find(name, term.method, field)
        column = self._column(found.reward, term.attribute, field)
        away = term.beta < 0
        return Steer((Term(found.reward, column, float(abs(term.beta)), away, found.clamp, float(term.min_entropy)),))

    def _find(self, name: str, method: str | None, field: str) -> RegisteredReward:
        if method is not None:
            suffixes = {kind.method: kind.bundled_suffix for kind in HEADS.values()}
            if method not in suffixes:
                raise APIError(
                    400, f"got method {shown(method)}, expected {' or '.join(suffixes)}", field, "invalid_value"
                )
            name = name + suffixes[method] if name + suffixes[method] in self._rewards else name
        if name not in self._rewards:
            known = ", ".join(sorted(self._rewards)) or "none: the server has no rewards"
            raise APIError(400, f"got the reward {shown(name)}, expected one of: {known}", field, "unknown_reward")
        found = self._rewards[name]
        if method not in (None, found.method):
            raise APIError(
                400, f"got method {shown(method)} for {shown(name)}, expected {found.method!r}", field, "invalid_value"
            )
        return found

    def _column(self, reward: Reward, attribute: str | None, field: str) -> int:
        if attribute is None:
            return 0
        if attribute not in reward.attributes:
            expected = ", ".join(reward.attributes)
            raise APIError(
                400, f"got the attribute {shown(attribute)}, expected one of: {expected}", field, "invalid_value"
            )
        return reward.attributes.index(attribute)
