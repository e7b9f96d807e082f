"""Settings of best-of-n, and of texts whose segments are accepted or written again. No torch here."""

import math
from dataclasses import asdict, dataclass
from typing import Annotated, final

from trimtab.checking import checked
from trimtab.engines.sampling_params import SamplingParams, check_drafts_differ
from trimtab.errors import InvalidSetting

MAX_DRAFTS = 100_000  # of a prompt
SEGMENT_ENTROPY, SOFTNESS = 2.0, 0.1


@final
@checked
@dataclass(frozen=True)
class Segments:
    """How a text is written in segments, each of which is accepted or written again (CARDS, 2406.16306).

    A segment ends before a token of high entropy. It is accepted with probability min(1, exp((r − τ) / softness)). r is
    the reward of the text up to its end, and τ rises with the text's length t from r₀ to the goal:

        τ = min(goal, r₀ + (goal − r₀) · t / max_new_tokens)        r₀ = (1 − start) · r(prompt) + start · goal

    A prompt of one token has no reward of its own: τ is the goal then.

    Attributes:
        goal: the reward that a whole text should have: Σ ±β · r of the steer that ranks.
        entropy: a token opens a segment if the entropy of the model over its candidates is at least this, in nats;
            over k candidates it is at most log k.
        start: α in the paper: how far τ starts from the prompt's own reward.
        softness: β in the paper; 0 accepts a segment if r ≥ τ, and no other.
        shortest, longest: tokens of a segment, but for the last one.

    Raises:
        InvalidSetting: a value is out of range.
    """

    goal: float
    entropy: float = SEGMENT_ENTROPY
    start: float = 0.5
    softness: float = SOFTNESS
    shortest: int = 4
    longest: int = 64

    def __post_init__(self) -> None:
        if not math.isfinite(self.goal):
            raise InvalidSetting(f"got goal={self.goal}, expected a finite reward")
        for name in ("entropy", "softness"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected a finite number, at least 0")
        if not 0 <= self.start <= 1:
            raise InvalidSetting(f"got start={self.start}, expected 0 to 1")
        if not 1 <= self.shortest <= self.longest:
            raise InvalidSetting(
                f"got shortest={self.shortest} and longest={self.longest}, expected 1 ≤ shortest ≤ longest"
            )


def best_of_facts(
    repairs: int, block: int | None, halve_every: int | None, segments: Segments | None
) -> dict[str, object]:
    """What a record says of drafts that were not written in one piece; nothing of plain best-of-n."""
    asked = {"repairs": repairs or None, "block": block, "halve_every": halve_every}
    given = {name: value for name, value in asked.items() if value is not None}
    in_segments = {} if segments is None else {"segments": asdict(segments)}
    return {"best_of": given | in_segments} if given or in_segments else {}


@final
@checked
@dataclass(frozen=True)
class BestOfSettings:
    """Best-of-n as the command line and files of jobs have it; `LanguageModel.best_of` has the meaning of each field.

    Raises:
        InvalidSetting: a value is out of range, lacks another that it needs, or excludes another one.
    """

    best_of: Annotated[int | None, "Write this many drafts of each prompt, and keep the --n best by --by."] = None
    by: Annotated[
        str | None,
        "What ranks the drafts: NAME=+1 is a reward whose high values are good, NAME=-1 one whose low values are; or a "
        "judge, as in rewind --judge.",
    ] = None
    block: Annotated[
        int | None,
        "Write the text in blocks of this many tokens, each the best of --best-of by the reward of the text so far "
        "(Controlled Decoding).",
    ] = None
    halve_every: Annotated[
        int | None,
        "After each run of this many tokens, end the worse half of the drafts by the reward of the text so far "
        "(speculative rejection).",
    ] = None
    accept_at: Annotated[
        float | None,
        "Write the text in segments, and each up to --best-of times, until the reward of the text so far is good "
        "enough; a whole text should reach this reward, below 0 for NAME=-1 (CARDS).",
    ] = None
    accept_softness: Annotated[
        float, "How far below that a segment's reward may be and it is still accepted now and then; 0 for never."
    ] = SOFTNESS
    segment_entropy: Annotated[
        float, "A token opens a segment if the entropy over its candidates is at least this, in nats."
    ] = SEGMENT_ENTROPY
    repairs: Annotated[
        int,
        "Rounds in which drafts that fail --by tests:FILE are written again from the line of their error (CodeRL).",
    ] = 0

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("best_of", "block", "halve_every")}
        given = {name: value for name, value in counts.items() if value is not None}
        for name, value in given.items():
            if not 1 <= value <= MAX_DRAFTS:
                raise InvalidSetting(f"got {name}={value}, expected 1 to {MAX_DRAFTS}")
        if not 0 <= self.repairs <= MAX_DRAFTS:
            raise InvalidSetting(f"got repairs={self.repairs}, expected 0 to {MAX_DRAFTS}")
        ways = [name for name in given if name != "best_of"]
        ways += [] if self.segments is None else ["accept_at"]
        ways += ["repairs"] if self.repairs else []
        if len(ways) > 1:
            raise InvalidSetting(f"got {' and '.join(map(_option, ways))}, expected one of them")
        named = [*ways, *(name for name in ("best_of", "by") if getattr(self, name) is not None)]
        if named and (self.best_of is None or self.by is None):
            missing = " and ".join(_option(name) for name in ("best_of", "by") if getattr(self, name) is None)
            raise InvalidSetting(f"got {', '.join(map(_option, named))}, expected {missing} with it")
        if self.accept_at is None and (self.accept_softness, self.segment_entropy) != (SOFTNESS, SEGMENT_ENTROPY):
            raise InvalidSetting("got --accept-softness or --segment-entropy, expected --accept-at with it")

    @property
    def segments(self) -> Segments | None:
        """The segments; None if the text is not written in segments.

        Raises:
            InvalidSetting: a value is out of range; the message has the option's name.
        """
        if not 0 <= self.accept_softness < math.inf:
            raise InvalidSetting(f"got accept_softness={self.accept_softness}, expected a finite number, at least 0")
        if not 0 <= self.segment_entropy < math.inf:
            raise InvalidSetting(f"got segment_entropy={self.segment_entropy}, expected a finite number, at least 0")
        if self.accept_at is None:
            return None
        if not math.isfinite(self.accept_at):
            raise InvalidSetting(f"got accept_at={self.accept_at}, expected a finite reward")
        return Segments(self.accept_at, self.segment_entropy, softness=self.accept_softness)

    @property
    def looks_at_prefixes(self) -> bool:
        """Whether the reward of unfinished texts decides, which needs a reward."""
        return self.block is not None or self.halve_every is not None or self.accept_at is not None

    def check_samples(self, sampling: SamplingParams) -> None:
        """Refuse more samples than there are drafts.

        Raises:
            InvalidSetting: there are, or not all drafts reach their end, or all drafts are the same.
        """
        if self.best_of is not None and not sampling.n <= (1 if self.looks_at_prefixes else self.best_of):
            most = "1, because other drafts do not reach their end" if self.looks_at_prefixes else str(self.best_of)
            raise InvalidSetting(f"got n={sampling.n}, expected at most {most}")
        check_drafts_differ(sampling.temperature, self.best_of or 1)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
