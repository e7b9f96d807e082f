"""The time of each method over that of plain top-k sampling, in interleaved runs on one machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from trimtab.evaluation.checks import check_at_least
from trimtab.evaluation.prompt_form import PLAIN, PromptForm
from trimtab.evaluation.run.methods import Method
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import Reader
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer

TIMED_PROMPTS = 4


def device_of(lm: LanguageModel) -> torch.device | None:
    """The device of the model; None if it is in another process."""
    return lm.engine.base.device if lm.engine.base is not None else None


@final
class Clock:
    """Adds up the seconds that rewards take.

    Args:
        device: the device of the model. A GPU is synchronized before each look at the time. None: the model is in
            another process.
        sees_rewards: whether the engine runs the states of a steer's rewards; vLLM computes rewards from its own.
    """

    def __init__(self, device: torch.device | None, sees_rewards: bool = True):
        self.device, self.sees_rewards = device, sees_rewards
        self.seconds = 0.0

    def now(self) -> float:
        """The time in seconds, after all work so far."""
        if self.device is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function; its time is added."""

        def run(*given: Any) -> Any:
            start = self.now()
            found = work(*given)
            self.seconds += self.now() - start
            return found

        return run

    def timed_steer(self, steer: Steer) -> Steer:
        """The same steer; the time of its rewards is added, if they are seen."""
        if not self.sees_rewards:
            return steer
        timed: dict[int, Any] = {id(term.reward): TimedReward(term.reward, self) for term in steer.terms}
        return Steer(tuple(replace(term, reward=timed[id(term.reward)]) for term in steer.terms))


@final
class TimedReward:
    """A reward whose states are timed. Everything else is the reward's own."""

    def __init__(self, reward: Reward, clock: Clock):
        self._reward, self._clock = reward, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def start(self, host: KVCache | None = None) -> "TimedState":
        """A new state that is timed."""
        return TimedState(self._reward.start(host), self._clock)


@final
class TimedState:
    """A reward state whose calls are timed."""

    def __init__(self, state: RewardState, clock: Clock):
        self._state, self._clock = state, clock
        self.prefill = clock.timed(state.prefill)
        self.rewards: Callable[..., Tensor] = clock.timed(state.rewards)
        self.advance = clock.timed(state.advance)
        self.select = clock.timed(state.select)
        self.rollback = clock.timed(state.rollback)

    def join(self, other: RewardState) -> None:
        """Append the rows of another timed state of the same reward."""
        assert isinstance(other, TimedState)
        self._clock.timed(self._state.join)(other._state)


def time_methods(
    lm: LanguageModel,
    methods: Sequence[Method],
    prompts: PromptSet,
    clock: Clock,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    form: PromptForm = PLAIN,
) -> dict[str, dict[str, float | None]]:
    """Continue the same prompts by every method, in interleaved runs; searches run once, after all rounds.

    Args:
        lm: the language model.
        methods: `top-k` first, with which the others are compared; `clock` times their rewards.
        prompts: the first four are used.
        clock: the clock that times the rewards.
        rounds: the number of rounds, at least 1; one more round comes first and does not count.
        progress: called with the number of turns done, and of all turns.
        form: how the prompts are sent.

    Returns:
        For each method by the name of its time: `ratio`, its time per token over that of `top-k` in the same round;
        `reward_share`, the share of its time that the rewards took, None if the clock does not see all of it;
        `tokens_per_second` of the texts; `runs`, the number of runs that count. Medians over the runs. A search has one
        run, and is compared with the median of `top-k`.

    Raises:
        InvalidSetting: `rounds` is below 1.
    """
    check_at_least(1, rounds=rounds)
    few = list(map(form.prompt, prompts.prompts[:TIMED_PROMPTS]))
    searches = [method for method in methods if method.searches]
    sampled = [method for method in methods if not method.searches]
    turns = [*sampled * (rounds + 1), *searches]
    found: dict[str, list[Run]] = {method.time_name: [] for method in methods}
    for turn, method in enumerate(turns, start=1):
        clock.seconds, start = 0.0, clock.now()
        written = method.write(lm, few)
        tokens = sum(len(generation.token_ids) for of_prompt in written for generation in of_prompt)
        found[method.time_name].append(Run(clock.now() - start, clock.seconds, max(tokens, 1)))
        progress(turn, len(turns))
    counted = {name: runs if len(runs) == 1 else runs[1:] for name, runs in found.items()}
    plain = counted[methods[0].time_name]
    seen = {one.time_name: clock.sees_rewards and _work_in_states(one, lm.engine.base) for one in methods}
    return {name: _figures(runs, plain, seen[name]) for name, runs in counted.items()}


def _work_in_states(method: Method, base: FrozenLM | None) -> bool:
    """Whether all work of a method's rewards is in the calls of their states.

    The layers of a ladder run inside the model's forward. Where a reward on the model's own state ranks or judges, the
    model reads the texts for it.
    """

    def readers(steer: Steer | None) -> list[Reader | None]:
        return [term.reward.reads(base.model) for term in steer.terms] if steer and base else []

    ladders = [each for each in readers(method.steered_by) if not isinstance(each, int | None)]
    read_again = [each for each in readers(method.ranked_by) + readers(method.judged_by) if each is not None]
    return not (ladders or read_again)


class Run(NamedTuple):
    """One run of a method: its seconds, those of the rewards, and the tokens of its texts (at least 1)."""

    seconds: float
    reward_seconds: float
    tokens: int

    @property
    def per_token(self) -> float:
        """Seconds per token."""
        return self.seconds / self.tokens


def _figures(runs: Sequence[Run], plain: Sequence[Run], sees_rewards: bool) -> dict[str, float | None]:
    """Medians over the runs; each is compared with the plain run of its round, a single one with their median."""
    beside = [run.per_token for run in plain]
    if len(runs) != len(plain):
        beside = [median(beside)] * len(runs)
    return {
        "ratio": median(run.per_token / other for run, other in zip(runs, beside, strict=True)),
        "reward_share": median(run.reward_seconds / run.seconds for run in runs) if sees_rewards else None,
        "tokens_per_second": median(run.tokens / run.seconds for run in runs),
        "runs": len(runs),
    }
