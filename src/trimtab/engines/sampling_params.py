"""How a text is sampled: one frozen object that every call shares. No torch here, so the command line starts fast."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypedDict, final

from trimtab.checking import checked_except, shown
from trimtab.errors import InvalidSetting, WrongType

DEFAULT_TOP_K = 20
DEFAULT_MAX_NEW_TOKENS = 40
MAX_COUNT = 10**9
MAX_SAMPLES = 100_000  # of a prompt; more are other calls with other seeds
MAX_SEED = 2**128
LEAST_BUDGET = 1e-6  # nats: by Pinsker's inequality, within it at most one token in 1,400 is another one
PENALTIES = (0.001, 1000.0)  # beyond them logits leave the range of their type


class DraftOptions(TypedDict, total=False):
    """The fields of `SamplingParams` except `n`, as keyword arguments."""

    top_k: int | None
    top_p: float | None
    temperature: float
    max_new_tokens: int
    stop: str | Sequence[str] | None
    seed: int | None
    max_kl: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    speculate: str | None


class SamplingOptions(DraftOptions, total=False):
    """The fields of `SamplingParams`, as keyword arguments."""

    n: int


@final
@checked_except("stop")
@dataclass(frozen=True)
class SamplingParams:
    """How a text is sampled.

    A text depends on its prompt, its steer and these settings only, never on the rest of its batch. This holds in
    float32, and in bfloat16 with `batch_invariant`. In plain bfloat16, two nearly equal candidates may swap in another
    batch.

    Attributes:
        n: samples of each prompt; they share the prompt's KV cache.
        top_k: number of candidates per token; None or 0 for no limit. 20 in RAD and ARM.
        top_p: keep the fewest candidates that hold this probability; None for no limit.
        temperature: divides the steered logits; 0 is greedy.
        max_new_tokens: maximum length; shorter where the context ends.
        stop: a string, or several, that end a text; they are not part of the text. None for no such string.
        seed: the same seed gives the same text; None draws a new one.
        max_kl: a budget for steering, in nats per token: what the steers add is scaled down, where it must be, so that
            KL(steered ‖ base) over the candidates stays within it. At least 1e-6, or 0, which switches steering off;
            None for no budget.
        repetition_penalty: divides the logits of tokens that prompt and text already have, and multiplies those below
            0; above 1 against repetition. As in transformers; None or 1 for none.
        no_repeat_ngram_size: no run of this many tokens occurs twice in prompt and text. As in transformers; None or 0
            for no limit.
        speculate: "lookup" drafts tokens by copying from prompt and text, and checks several in one forward call;
            "draft" drafts them by the model's draft head, or by another model; None writes token by token. In float32
            no text changes, up to ties that rounding breaks.

    Raises:
        InvalidSetting: a value is out of range, or of another type.
    """

    n: Annotated[int, "Samples of each prompt."] = 1
    top_k: Annotated[int | None, "Candidates per token; 0 for no limit."] = DEFAULT_TOP_K
    top_p: Annotated[float | None, "Keep the fewest candidates that hold this probability."] = None
    temperature: Annotated[float, "Divides the steered logits; 0 is greedy."] = 1.0
    max_new_tokens: Annotated[int, "Maximum number of new tokens."] = DEFAULT_MAX_NEW_TOKENS
    stop: Annotated[Sequence[str], "End a text at this string. Repeat for several."] = ()
    seed: Annotated[int | None, "The same seed gives the same text. Default: a new one."] = None
    max_kl: Annotated[
        float | None, "Budget for steering, in nats per token: the steers are scaled down to stay within it."
    ] = None
    repetition_penalty: Annotated[
        float | None, "Divides the logits of tokens that prompt and text already have, as in transformers; 1 for none."
    ] = None
    no_repeat_ngram_size: Annotated[
        int | None, "No run of this many tokens occurs twice in prompt and text; 0 for no limit."
    ] = None

    speculate: Annotated[
        str | None,
        "How tokens are drafted, so that one call checks several: lookup copies from prompt and text, draft asks a "
        "draft head. No text changes.",
    ] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _stop_strings(self.stop))
        for name in ("n", "max_new_tokens"):
            most = MAX_SAMPLES if name == "n" else MAX_COUNT
            if not 1 <= getattr(self, name) <= most:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {most}")
        if self.top_k is not None and not 0 <= self.top_k <= MAX_COUNT:
            raise InvalidSetting(f"got top_k={shown(self.top_k)}, expected 1 to {MAX_COUNT}, or 0 for no limit")
        if self.seed is not None and abs(self.seed) >= MAX_SEED:
            raise InvalidSetting(f"got seed={shown(self.seed)}, expected a whole number of at most 128 bits")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidSetting(f"got top_p={self.top_p}, expected a probability above 0, at most 1")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InvalidSetting(f"got temperature={self.temperature}, expected a finite number, at least 0")
        check_budget(self.max_kl)
        penalty, size = self.repetition_penalty, self.no_repeat_ngram_size
        if penalty is not None and not PENALTIES[0] <= penalty <= PENALTIES[1]:
            raise InvalidSetting(
                f"got repetition_penalty={penalty}, expected {PENALTIES[0]:g} to {PENALTIES[1]:g}, or 1 for none"
            )
        if size is not None and not 0 <= size <= MAX_COUNT:
            raise InvalidSetting(
                f"got no_repeat_ngram_size={shown(size)}, expected 1 to {MAX_COUNT}, or 0 for no limit"
            )
        object.__setattr__(self, "top_k", self.top_k or None)
        object.__setattr__(self, "no_repeat_ngram_size", size or None)
        object.__setattr__(self, "top_p", None if self.top_p == 1 else self.top_p)
        object.__setattr__(self, "repetition_penalty", None if penalty == 1 else penalty)

    @classmethod
    def of(cls, params: "SamplingParams | None", options: SamplingOptions | DraftOptions) -> "SamplingParams":
        """Settings with some fields changed by keyword arguments; the seed is drawn if none is given.

        Raises:
            InvalidSetting: an unknown keyword, or a value out of range.
        """
        given: dict[str, Any] = dict(options)
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
            raise InvalidSetting(f"got top_k={shown(self.top_k)}, expected at most the vocabulary size, {size}")

    def check_choice(self, vocabulary: int) -> None:
        """Refuse settings that leave a steer one candidate.

        Args:
            vocabulary: the number of tokens; the likeliest has at least its share of the probability.

        Raises:
            InvalidSetting: they do.
        """
        why = "with a steer: of one candidate, it cannot choose another"
        if self.top_k == 1:
            raise InvalidSetting(f"got top_k=1, expected 2 or more {why}")
        if self.top_p is not None and self.top_p * vocabulary <= 1:
            raise InvalidSetting(f"got top_p={self.top_p:g}, expected more than 1 / {vocabulary} {why}")


def check_drafts_differ(temperature: float, drafts: int) -> None:
    """Refuse to rank drafts that are all the same text.

    Raises:
        InvalidSetting: they are.
    """
    if temperature == 0 and drafts > 1:
        raise InvalidSetting(
            f"got temperature=0 with {drafts} drafts to rank, expected above 0: greedy drafts are the same"
        )


def check_budget(max_kl: float | None) -> None:
    """Refuse a budget that is no number of nats, or so small that it switches steering off in silence.

    Raises:
        InvalidSetting: it is.
    """
    if max_kl is None or (math.isfinite(max_kl) and (max_kl == 0 or max_kl >= LEAST_BUDGET)):
        return
    raise InvalidSetting(
        f"got max_kl={max_kl}, expected a number of nats per token: at least {LEAST_BUDGET:g}, or 0 for no steering"
    )


def _stop_strings(stop: object) -> tuple[str, ...]:
    strings = () if stop is None else (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, Sequence) or not all(isinstance(text, str) for text in strings):
        raise WrongType(f"got stop={shown(stop)}, expected a string, or a list of them")
    for text in strings:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidSetting(f"got stop={shown(stop)}, expected text that has a UTF-8 encoding")
    return tuple(strings)
