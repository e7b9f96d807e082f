"""The time of each method over that of plain top-k sampling, in interleaved runs on one machine."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, final

import torch
from torch import Tensor

from trimtab.data.files import read_record
from trimtab.evaluation.run.methods import Method
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.language_model import LanguageModel
from trimtab.models.kv_cache import KVCache
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer

TIMES_FILE = "times.json"
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
    """

    def __init__(self, device: torch.device | None):
        self.device = device
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
        """The same steer; the time of its rewards is added."""
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
) -> dict[str, dict[str, float]]:
    """Continue the same prompts by every method, in interleaved runs.

    Args:
        lm: the language model.
        methods: `top-k` first, with which the others are compared; `clock` times their rewards.
        prompts: the first four are used.
        clock: the clock that times the rewards.
        rounds: the number of rounds; one more round comes first and does not count.
        progress: called with the number of turns done, and of all turns.

    Returns:
        For each method by name: `ratio`, its time per token over that of `top-k` in the same round; `reward_share`,
        the share of its time that the rewards took; `tokens_per_second` of the texts. Medians over the rounds.
    """
    few = prompts.prompts[:TIMED_PROMPTS]
    found: list[list[tuple[float, float, int]]] = []
    for turn in range(rounds + 1):
        found.append([])
        for place, method in enumerate(methods):
            clock.seconds, start = 0.0, clock.now()
            written = method.write(lm, few)
            seconds = clock.now() - start
            found[-1].append((seconds, clock.seconds, sum(len(g.token_ids) for of in written for g in of)))
            progress(turn * len(methods) + place + 1, (rounds + 1) * len(methods))
    counted = found[1:]
    return {
        method.name: {
            "ratio": median((of[place][0] / of[place][2]) / (of[0][0] / of[0][2]) for of in counted),
            "reward_share": median(of[place][1] / of[place][0] for of in counted),
            "tokens_per_second": median(of[place][2] / of[place][0] for of in counted),
        }
        for place, method in enumerate(methods)
    }


def save_times(folder: Path, times: dict[str, dict[str, float]], lm: LanguageModel, settings: dict[str, Any]) -> None:
    """Save times in the folder of a comparison; those of other methods stay."""
    saved, device = read_times(folder), device_of(lm)
    about = {
        "device": torch.cuda.get_device_name(device)
        if device and device.type == "cuda"
        else lm.engine.describe()["device"],
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **settings,
    }
    record = saved | {name: {**of_method, "about": about} for name, of_method in times.items()}
    (folder / TIMES_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_times(folder: Path) -> dict[str, Any]:
    """The saved times of a comparison, by method."""
    return read_record(folder / TIMES_FILE)
