"""Where the time of a step goes: the language model, the reward's trunk, its head, the sampling, and the rest.

A separate run is watched, because watching takes time. Marks are set where a part begins and ends. The time between two
marks belongs to the innermost part. On a GPU a mark is an event in its queue, so that nothing waits. There a replayed
CUDA graph is one part: what reads the language model's hidden states counts as the language model.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal, final, get_args

import torch
from torch import nn

from trimtab.benchmark.other_state import OtherState
from trimtab.benchmark.writers import Job, Now, generate_writer, loop_writer
from trimtab.engines.torch.sampling import RowSampling
from trimtab.models.forward_call import Called, ForwardCall
from trimtab.models.kv_cache import KVCache
from trimtab.models.recordings import Recordings
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Steer, distinct_rewards

Part = Literal["lm", "reward", "head", "sampling", "rest"]
PARTS: tuple[Part, ...] = get_args(Part)
SAMPLING = ("candidates", "choose")  # the methods of `RowSampling` that are sampling


@final
class Marks:
    """The parts of a run, as they begin and end.

    Args:
        stamp: sets a mark, or returns None where none can be set.
        between: the seconds between two marks; called when the run is over.
    """

    def __init__(self, stamp: Callable[[], Any], between: Callable[[Any, Any], float]):
        self._stamp, self._between = stamp, between
        self._open: list[Part] = ["rest"]
        self._marks: list[tuple[Any, Part]] = []

    @classmethod
    def on(cls, device: torch.device, now: Now = time.perf_counter) -> "Marks":
        """Marks on a device: looks at the clock on a CPU, events on a GPU."""
        if device.type == "cuda":
            return cls(cuda_event, seconds_between_events)
        return cls(now, lambda start, end: end - start)

    def start(self) -> None:
        """Forget all marks: the first token has been written."""
        self._marks = [(self._stamp(), "rest")]

    def end(self) -> None:
        """Set the last mark."""
        self._mark()

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """What happens inside belongs to this part, but for parts inside it."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def enter(self, name: Part) -> None:
        """Begin a part."""
        self._mark()
        self._open.append(name)

    def leave(self) -> None:
        """End the part that began last."""
        self._mark()
        self._open.pop()

    def watched(self, work: Callable[..., Any], name: Part) -> Callable[..., Any]:
        """The same function; its time belongs to a part."""

        def run(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return work(*given, **named)

        return run

    def seconds(self) -> dict[Part, float]:
        """The seconds of each part between start and end."""
        found: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        for (start, _), (end, part) in zip(self._marks, self._marks[1:], strict=False):
            found[part] += self._between(start, end)
        return found

    def _mark(self) -> None:
        if self._marks and (stamped := self._stamp()) is not None:
            self._marks.append((stamped, self._open[-1]))


def cuda_event() -> torch.cuda.Event | None:
    """An event in the queue of the current GPU; None while that is being recorded, not run."""
    if torch.cuda.is_current_stream_capturing():
        return None
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between_events(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    """The seconds between two events, after both."""
    end.synchronize()
    return start.elapsed_time(end) / 1000


@final
class WatchedState:
    """A reward state whose calls are parts; the head inside it is another part."""

    def __init__(self, state: RewardState, marks: Marks):
        self._state = state
        self.prefill = marks.watched(state.prefill, "reward")
        self.rewards = marks.watched(state.rewards, "reward")
        self.advance = marks.watched(state.advance, "reward")
        self.select = marks.watched(state.select, "reward")
        self.rollback = marks.watched(state.rollback, "reward")

    def join(self, other: RewardState) -> None:
        """Append the rows of another watched state."""
        assert isinstance(other, WatchedState)
        self._state.join(other._state)


def time_parts(job: Job, tokens: int, generate: bool = False) -> dict[Part, float]:
    """The seconds of each part in one step of one run, the first token left out.

    Args:
        job: the texts.
        tokens: tokens of each text.
        generate: whether transformers' `generate` writes them; its sampling is part of the rest.
    """
    marks = Marks.on(job.subject.lm.device, job.now)
    watched = replace(job, steers=watched_steers(job.steers, marks))
    write = (generate_writer if generate else loop_writer)(watched, marks.start)
    with watched_modules(job, marks), watched_recordings(job, marks), watched_sampling(marks):
        write(tokens)
        marks.end()
    return {part: seconds / (tokens - 1) for part, seconds in marks.seconds().items()}


def watched_steers(steers: Sequence[Steer | None], marks: Marks) -> list[Steer | None]:
    """The same steers; the calls of their rewards' states are watched."""

    def watch(reward: Reward) -> Reward:
        def start(host: KVCache | None) -> RewardState:
            return WatchedState(reward.start(host), marks)

        return OtherState(reward, start)

    others = {id(reward): watch(reward) for reward in distinct_rewards(steers)}
    return [
        steer and Steer(tuple(replace(term, reward=others[id(term.reward)]) for term in steer.terms))
        for steer in steers
    ]


@contextmanager
def watched_modules(job: Job, marks: Marks) -> Iterator[None]:
    """Watch the forward calls of the language model and of the parts of the reward's network."""
    modules: list[tuple[nn.Module, Part]] = [(job.subject.lm.model, "lm"), (job.subject.as_transformers_loads_it, "lm")]
    if job.network is not None:
        head = job.network.head
        modules += [(child, "head" if child is head else "reward") for child in job.network.children()]
    hooks = []
    for module, part in modules:
        hooks.append(module.register_forward_pre_hook(lambda *_, part=part: marks.enter(part)))
        hooks.append(module.register_forward_hook(lambda *_: marks.leave()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def watched_recordings(job: Job, marks: Marks) -> Iterator[None]:
    """Watch the calls of recorded steps, for one run: of the language model, and of the trunks of rewards."""
    plain = Recordings.call

    def call(recordings: Recordings, step: ForwardCall, *given: Any) -> Called | None:
        with marks.part("lm" if step.model is job.subject.lm.model else "reward"):
            return plain(recordings, step, *given)

    with replaced(Recordings, {"call": call}):
        yield


@contextmanager
def watched_sampling(marks: Marks) -> Iterator[None]:
    """Watch the choice of candidates and tokens in the decode loop, for one run."""
    with replaced(RowSampling, {name: marks.watched(getattr(RowSampling, name), "sampling") for name in SAMPLING}):
        yield


@contextmanager
def replaced(owner: type, methods: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Replace some methods of a class for a while."""
    plain = {name: getattr(owner, name) for name in methods}
    try:
        for name, method in methods.items():
            setattr(owner, name, method)
        yield
    finally:
        for name, method in plain.items():
            setattr(owner, name, method)
