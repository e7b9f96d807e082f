"""The objects that malformed calls are made with, and how one call is judged."""

import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, final

from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import TrimtabError
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import FrozenLM
from trimtab.testing import ScriptedEngine, WordCodec

ACCEPTED, OURS, FOREIGN = "accepted", "ours", "foreign"


@final
class World:
    """A tiny model, its rewards, and other things that calls need. The folder is a copy of the files' world."""

    def __init__(self) -> None:
        frozen = tiny_lm("llama", seed=3)
        self.frozen = FrozenLM(frozen.model, frozen.tokenizer, "lm")
        self.lm = LanguageModel(TorchEngine(self.frozen))
        self.q = tiny_reward(self.frozen, "q")
        self.v = tiny_reward(self.frozen, "v")
        self.steer = self.q.toward(5.0)

    @cached_property
    def chat(self) -> LanguageModel:
        """A model with a chat template."""
        return LanguageModel(TorchEngine(chat_lm()))

    @cached_property
    def scripted(self) -> LanguageModel:
        """An engine without a model."""
        return LanguageModel(ScriptedEngine(WordCodec(["w1"]), lambda words: {"w1": 1.0}))


@final
@dataclass(frozen=True)
class Call:
    """A Python call.

    Attributes:
        name: the call, in words.
        make: calls.
        why: why it is harmless that it is accepted; None if it must be refused.
    """

    name: str
    make: Callable[[World], Any]
    why: str | None = None


def refuses(name: str, make: Callable[[World], Any]) -> Call:
    """A call that must be refused."""
    return Call(name, make)


def accepts(why: str, name: str, make: Callable[[World], Any]) -> Call:
    """A call that is accepted, which is harmless for this reason."""
    return Call(name, make, why)


@cache
def world() -> World:
    """The objects; made once, before the server forks."""
    return World()


@cache
def calls() -> dict[str, Call]:
    """Every call by its name."""
    from torture.tables import calls_arguments, calls_misfits, calls_single

    every = [*calls_single.CALLS, *calls_misfits.CALLS, *calls_arguments.CALLS]
    found = {each.name: each for each in every}
    if len(found) < len(every):
        raise ValueError("two calls have one name")
    return found


def call(name: str) -> dict[str, Any]:
    """Make a call; returns how it ended: "accepted", "ours" for an error of ours, or "foreign"; with a message."""
    warnings.simplefilter("error")
    for module in ("torch", "transformers"):
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=module)
    start = time.perf_counter()
    ended, message = outcome(calls()[name])
    return {"name": name, "ended": ended, "message": message, "seconds": round(time.perf_counter() - start, 3)}


def outcome(each: Call) -> tuple[str, str]:
    """How a call ended, and the message."""
    try:
        found = each.make(world())
        if isinstance(found, Iterator):
            found = list(found)
    except TrimtabError as error:
        return OURS, f"{type(error).__name__}: {error}"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)[-4:]
        places = " ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
        return FOREIGN, f"{type(error).__name__}: {str(error)[:200]} at {places}"
    try:
        return ACCEPTED, repr(found)[:100]
    except Exception as error:
        return ACCEPTED, f"no repr: {error!r}"


world()
