"""Step rewards: a judge scores a text after each of its sentences or lines, and an aggregate of these is the score."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import final

from trimtab.checking import checked_except
from trimtab.engines.base import Capability, Engine
from trimtab.judges.base import Judge, ReadsTokens, check_scores, description_of, needs_of, threshold_of
from trimtab.judges.draft import Draft
from trimtab.judges.step_scores import AGGREGATES, Aggregate, check_steps, step_ends
from trimtab.models.codec import TextCodec
from trimtab.models.detokenizer import Detokenizer


@final
@checked_except("judge", "aggregate")
class StepJudge:
    """A judge of steps (2311.05821): the text up to the end of each step is scored, and the scores are aggregated.

    A step is a sentence or a line. The step that a text ends within counts, too.

    Differs from the paper: it has a model of step rewards for mathematics, which tells positive, neutral and negative
    steps apart. Here any judge of texts scores the steps.

    Args:
        judge: scores the text up to a step.
        aggregate: "min", "mean", "product", "log-sum" or "last"; or a function of the list of scores.
        steps: "sentences" or "lines".

    Raises:
        InvalidSetting: there is no such aggregate, or no such kind of steps.
    """

    def __init__(self, judge: Judge, aggregate: str | Aggregate = "min", steps: str = "sentences"):
        check_steps(steps, "own" if callable(aggregate) else aggregate)
        self._judge, self._steps = judge, steps
        self._aggregate = aggregate if callable(aggregate) else AGGREGATES[aggregate]
        self._called = str(getattr(aggregate, "__name__", "function")) if callable(aggregate) else aggregate
        self.name = f"{steps}:{self._called}:{judge.name}"

    @property
    def needs(self) -> frozenset[Capability]:
        """What the judge of the steps needs of an engine."""
        return needs_of(self._judge)

    @property
    def threshold(self) -> float:
        """That of the judge of the steps."""
        return threshold_of(self._judge)

    def describe(self) -> dict[str, str]:
        """The judge of the steps, the kind of steps, and the aggregate."""
        return description_of(self._judge) | {"steps": self._steps, "aggregate": self._called}

    def room(self, codec: TextCodec, prompt: str, prompt_ids: Sequence[int]) -> int:
        """The most tokens that the judge of the steps can read of a continuation."""
        if isinstance(self._judge, ReadsTokens):
            return self._judge.room(codec, prompt, prompt_ids)
        return codec.context_length

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The aggregate for each draft; the steps of all drafts are scored in one call.

        Raises:
            InvalidData: the judge or the aggregate returns no number from 0 to 1.
        """
        steps = [self.steps_of(draft, engine) for draft in drafts]
        flat = [step for of_draft in steps for step in of_draft]
        scores = iter(check_scores(self._judge.name, self._judge.score(flat, engine), len(flat)) if flat else [])
        found = [self._aggregate([next(scores) for _ in of_draft]) for of_draft in steps]
        return check_scores(self.name, found, len(drafts))

    def steps_of(self, draft: Draft, engine: Engine | None) -> list[Draft]:
        """The draft up to the end of each of its steps; the last one is the draft itself."""
        ends = step_ends(draft.text, self._steps)[:-1]
        lengths = [] if engine is None or not ends else token_ends(draft, engine.codec)
        return [*(_cut(draft, end, lengths) for end in ends), draft]


def token_ends(draft: Draft, codec: TextCodec) -> list[int]:
    """The place in the draft's text where each of its tokens ends.

    A text may go on behind its tokens: a stop string may begin inside a token. A text that was not written behind its
    prompt begins without the space that its first token may have.
    """
    opens = not draft.text.startswith(codec.decode_behind(draft.token_ids[:1])[:1])
    detokenizer, last = Detokenizer(codec, opens), len(draft.token_ids) - 1
    ends = list(accumulate(len(detokenizer.push(token, place == last)) for place, token in enumerate(draft.token_ids)))
    return ends


def _cut(draft: Draft, end: int, lengths: Sequence[int]) -> Draft:
    """A draft up to a character, and the tokens that reach it."""
    tokens = bisect_left(lengths, end) + 1 if lengths else 0
    return replace(draft, text=draft.text[:end], token_ids=draft.token_ids[:tokens], tails=(), tail_lengths=())
