"""What a method costs: its time over that of plain top-k sampling, measured side by side."""

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

from trimtab.evaluation.methods import Method
from trimtab.evaluation.prompts import PromptSet
from trimtab.files import read_record
from trimtab.frozen.cache import PrefixCache
from trimtab.lm import LanguageModel
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer

TIMES_FILE = "times.json"
TIMED_PROMPTS = 4


@final
class Clock:
    """Adds up the seconds that rewards take.

    Args:
        device: waited for before and after, if it works asynchronously.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def now(self) -> float:
        """The time, when all work so far is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time added."""

        def run(*given: Any) -> Any:
            start = self.now()
            found = work(*given)
            self.seconds += self.now() - start
            return found

        return run

    def watch(self, steer: Steer) -> Steer:
        """The same steer, its rewards' work timed."""
        watched = {id(term.reward): WatchedReward(term.reward, self) for term in steer.terms}
        return Steer(tuple(replace(term, reward=watched[id(term.reward)]) for term in steer.terms))


@final
class WatchedReward:
    """A reward whose states are timed; else the reward itself."""

    def __init__(self, reward: Reward, clock: Clock):
        self._reward, self._clock = reward, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reward, name)

    def start(self, host: PrefixCache | None = None) -> "WatchedState":
        """A fresh state that is timed."""
        return WatchedState(self._reward.start(host), self._clock)


@final
class WatchedState:
    """A reward state of which every call is timed."""

    def __init__(self, state: RewardState, clock: Clock):
        self._state = state
        self.prefill = clock.timed(state.prefill)
        self.rewards: Callable[..., Tensor] = clock.timed(state.rewards)
        self.advance = clock.timed(state.advance)
        self.select = clock.timed(state.select)
        self.rollback = clock.timed(state.rollback)


def time_methods(
    lm: LanguageModel,
    methods: Sequence[Method],
    prompts: PromptSet,
    clock: Clock,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, float]]:
    """Write the same few prompts by every method in turn, `rounds` times.

    Args:
        lm: the language model.
        methods: `top-k` first, which the others are compared with; their rewards watched by `clock`.
        prompts: the first few are used.
        clock: of the methods' rewards.
        rounds: how often; after one more, which does not count.
        progress: called with the turns done and the turns in all.

    Returns:
        For each method by name: `ratio`, its time over that of `top-k` in the same round; `reward_share`, the part of
        it that the rewards took; `tokens_per_second` of what is kept. Medians over the rounds.
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


def keep_times(folder: Path, times: dict[str, dict[str, float]], lm: LanguageModel, settings: dict[str, Any]) -> None:
    """Put times into a comparison's folder; those of other methods stay."""
    kept = read_times(folder)
    about = {
        "device": str(lm.frozen.device) if lm.frozen.device.type == "cpu" else torch.cuda.get_device_name(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **settings,
    }
    record = kept | {name: {**of_method, "about": about} for name, of_method in times.items()}
    (folder / TIMES_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_times(folder: Path) -> dict[str, Any]:
    """The times kept in a comparison's folder, by method."""
    return read_record(folder / TIMES_FILE)
