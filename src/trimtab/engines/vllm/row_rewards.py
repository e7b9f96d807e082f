"""Rewards as vLLM's rows need them: the same head, on states that a source keeps."""

from collections.abc import Sequence
from typing import Any, final

from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.vllm.rows import BatchRow
from trimtab.engines.vllm.state_sources import LadderStates, OwnStates, StateSource, TrunkStates
from trimtab.errors import InvalidSetting, UnsupportedByEngine
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST
from trimtab.rewards.heads.q_head import ScoresNextTokens
from trimtab.rewards.ladder import Ladder
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer, distinct_rewards


def check_steers(steer: Steer | None, base: FrozenLM, kept: Sequence[int]) -> None:
    """Refuse rewards that the vLLM engine cannot steer by.

    Args:
        steer: the rewards.
        base: the steered model.
        kept: the depths whose hidden states vLLM's model keeps, the top among them.

    Raises:
        UnsupportedByEngine: the message says what to do instead.
        InvalidSetting: a reward reads another depth; the message says how to keep it.
    """
    for reward in distinct_rewards([steer]):
        _check_kind(reward, base)
        missing = sorted(_depths(reward, base) - {*kept})
        if missing:
            raise InvalidSetting(_missing_depths(reward, missing, kept))


def _check_kind(reward: Reward, base: FrozenLM) -> None:
    if not isinstance(reward, RewardModel):
        raise UnsupportedByEngine(
            f"got {reward.name!r} with the engine vllm, expected one reward model of the model's tokenizer; use "
            "engine='torch'"
        )
    if not isinstance(reward.network.head, ScoresNextTokens):
        raise UnsupportedByEngine(
            f"got {reward.name!r}, which reads every candidate, with the engine vllm, expected a reward that "
            "scores all next tokens at once (ARM); use engine='torch'"
        )
    if reward.network.ladder is not None and reward.reads(base.model) is None:
        raise UnsupportedByEngine(
            f"got {reward.name!r}, a ladder over {reward.base.name}, with the engine vllm on {base.name}, expected "
            "a reward on that model, or with layers of its own; use engine='torch'"
        )


def _depths(reward: Reward, base: FrozenLM) -> set[int]:
    """The depths of the model that a reward reads; none if it has layers of its own."""
    reader = reward.reads(base.model)
    if reader is None:
        return set()
    depths = {reader} if isinstance(reader, int) else {*reader.taps}
    return {base.layers if depth == LAST else depth for depth in depths}


def _missing_depths(reward: Reward, missing: Sequence[int], kept: Sequence[int]) -> str:
    """The message about depths that the model does not keep. A class that keeps the top alone can keep no other."""
    taps = sorted({*kept, *missing})
    more = (
        f"load the model with engine_options={{'taps': {taps}}}, start vLLM's own server with --additional-config "
        f'\'{{"trimtab": {{"taps": {taps}}}}}\', or '
    )
    return (
        f"got {reward.name!r}, which reads the hidden states at the depths {', '.join(map(str, missing))}, with the "
        f"engine vllm, expected depths among {', '.join(map(str, kept))}, which its model keeps; "
        f"{more if len(kept) > 1 else ''}use engine='torch'"
    )


def new_source(reward: Reward, base: FrozenLM | None) -> StateSource:
    """A new source of a reward's states.

    Args:
        reward: one that `check_steers` lets pass.
        base: the steered model, in this process.
    """
    assert isinstance(reward, RewardModel)
    assert base is not None
    reader = reward.reads(base.model)
    if isinstance(reader, int):
        return OwnStates(reader, None if reader == LAST else reward.base.final_norm)
    if isinstance(reader, Ladder):
        return LadderStates(reader, base)
    return TrunkStates(reward.prefix_encoder, reward.base.device)


@final
class RowReward:
    """A reward over some rows of vLLM's batch.

    Args:
        reward: the reward; all that is not said here is its own.
        name: its name in traces, while rewards join and leave.
        source: has the rows' states.
        rows: the rows that it steers, in the order of their batch.
    """

    def __init__(self, reward: Reward, name: str, source: StateSource, rows: Sequence[BatchRow]):
        self._reward, self.name, self._source, self._rows = reward, name, source, rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def reads(self, model: object) -> None:
        """Nothing of a cache of ours: the source reads vLLM's model."""
        return

    def start(self, host: KVCache | None = None) -> RewardState:
        """The rewards of the rows."""
        assert isinstance(self._reward, RewardModel)
        head = self._reward.network.head
        assert isinstance(head, ScoresNextTokens)
        return _RowState(head, self._source, self._rows)


@final
class _RowState:
    """The rewards of rows whose prefixes vLLM keeps."""

    def __init__(self, head: ScoresNextTokens, source: StateSource, rows: Sequence[BatchRow]):
        self._head, self._source, self._rows = head, source, rows

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k attributes"]:
        """Score next tokens from the state of each row."""
        return self._head.next_rewards(self._source.hidden(self._rows), candidates)

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Do nothing: the source has read the prompts."""

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """Do nothing: the source advances."""

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Refuse: other rows are another group, which has states of its own."""
        raise NotImplementedError

    def join(self, other: RewardState) -> None:
        """Refuse, as `select`."""
        raise NotImplementedError

    def rollback(self, tokens: int) -> None:
        """Refuse: vLLM takes no token back."""
        raise NotImplementedError
