"""How a text is sampled: one frozen object that every call shares. No torch here, so the command line starts fast."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Annotated, Any, TypedDict, final

from trimtab.errors import InvalidSetting

DEFAULT_TOP_K = 20
DEFAULT_MAX_NEW_TOKENS = 40


class DraftOptions(TypedDict, total=False):
    """The fields of `SamplingParams` except `n`, as keyword arguments."""

    top_k: int | None
    top_p: float | None
    temperature: float
    max_new_tokens: int
    stop: str | Sequence[str] | None
    seed: int | None


class SamplingOptions(DraftOptions, total=False):
    """The fields of `SamplingParams`, as keyword arguments."""

    n: int


@final
@dataclass(frozen=True)
class SamplingParams:
    """How a text is sampled.

    A text depends on its prompt, its steer and these settings only, never on the rest of its batch. This holds in
    float32; in bfloat16, two nearly equal candidates may swap in another batch.

    Attributes:
        n: samples of each prompt; they share the prompt's KV cache.
        top_k: number of candidates per token; None or 0 for no limit. 20 in RAD and ARM.
        top_p: keep the fewest candidates that hold this probability; None for no limit.
        temperature: divides the steered logits; 0 is greedy.
        max_new_tokens: maximum length; shorter where the context ends.
        stop: a string, or several, that end a text; they are not part of the text. None for no such string.
        seed: the same seed gives the same text; None draws a new one.

    Raises:
        InvalidSetting: a value is out of range.
    """

    n: Annotated[int, "Samples of each prompt."] = 1
    top_k: Annotated[int | None, "Candidates per token; 0 for no limit."] = DEFAULT_TOP_K
    top_p: Annotated[float | None, "Keep the fewest candidates that hold this probability."] = None
    temperature: Annotated[float, "Divides the steered logits; 0 is greedy."] = 1.0
    max_new_tokens: Annotated[int, "Maximum number of new tokens."] = DEFAULT_MAX_NEW_TOKENS
    stop: Annotated[Sequence[str], "End a text at this string. Repeat for several."] = ()
    seed: Annotated[int | None, "The same seed gives the same text. Default: a new one."] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        for name in ("n", "top_k", "max_new_tokens", "seed"):
            value = getattr(self, name)
            if not (isinstance(value, Integral) or (value is None and name in ("top_k", "seed"))):
                raise InvalidSetting(f"got {name}={value!r}, expected a whole number")
        for name in ("temperature", "top_p"):
            value = getattr(self, name)
            if not (isinstance(value, Real) or (value is None and name == "top_p")):
                raise InvalidSetting(f"got {name}={value!r}, expected a number")
        for name in ("n", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 1")
        if self.top_k is not None and self.top_k < 0:
            raise InvalidSetting(f"got top_k={self.top_k}, expected at least 1, or 0 for no limit")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidSetting(f"got top_p={self.top_p}, expected a probability above 0, at most 1")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidSetting(f"got temperature={self.temperature}, expected a finite number, at least 0")
        object.__setattr__(self, "top_k", self.top_k or None)

    @classmethod
    def of(cls, params: "SamplingParams | None", options: SamplingOptions | DraftOptions) -> "SamplingParams":
        """Settings with some fields changed by keyword arguments; the seed is drawn if none is given.

        Raises:
            InvalidSetting: an unknown keyword, or a value out of range.
        """
        given: dict[str, Any] = dict(options)
        if unknown := sorted(set(given) - set(cls.__dataclass_fields__)):
            known = ", ".join(cls.__dataclass_fields__)
            raise InvalidSetting(f"got {unknown[0]}={given[unknown[0]]!r}, expected one of: {known}")
        if given.get("stop", ()) is None:
            given["stop"] = ()
        return replace(params or cls(), **given).with_seed()

    def with_seed(self) -> "SamplingParams":
        """These settings, with a new seed if there is none."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(63))

    def check_vocabulary(self, size: int) -> None:
        """Refuse more candidates than there are tokens.

        Raises:
            InvalidSetting: `top_k` is larger than the vocabulary.
        """
        if self.top_k is not None and self.top_k > size:
            raise InvalidSetting(f"got top_k={self.top_k}, expected at most the vocabulary size, {size}")


def _stop_strings(stop: object) -> tuple[str, ...]:
    strings = () if stop is None else (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(text, str) for text in strings):
        raise InvalidSetting(f"got stop={stop!r}, expected a string, or a list of them")
    return tuple(strings)
