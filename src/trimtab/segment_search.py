"""Texts in segments that a reward accepts, or that are written again: CARDS (2406.16306)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import final

from trimtab.best_of import reward_sums
from trimtab.best_of_settings import Segments
from trimtab.engines.base import Choice, Continuation, DecodeUsage, Engine, FinishReason, Request
from trimtab.engines.reward_names import named_alike
from trimtab.models.detokenizer import visible_ids
from trimtab.steering.steer import Steer

PIECE = 8  # tokens that are written before it is looked whether a segment has ended
BITS = 53  # of a uniform number


@final
@dataclass
class SegmentedText:
    """A text while it is written.

    Attributes:
        request: its prompt and settings.
        start: τ for an empty text.
        accepted: the tokens of the segments that are accepted.
        draft: those of the segment that is being written, and perhaps more.
        ended: why the text ends behind the draft; None if it goes on.
        attempt: the number of segments that were refused: the number of the sample whose noise is used.
        refused: the refused drafts of this segment, each with its reward.
        usage: what all drafts cost.
        reason: why the text ended; None until then.
    """

    request: Request
    start: float
    accepted: tuple[Choice, ...] = ()
    draft: tuple[Choice, ...] = ()
    ended: FinishReason | None = None
    attempt: int = 0
    refused: list[tuple[float, tuple[Choice, ...], FinishReason | None]] = field(default_factory=list)
    usage: DecodeUsage = field(default_factory=DecodeUsage)
    reason: FinishReason | None = None

    def next_piece(self) -> Request:
        """The request for more tokens of the draft."""
        written = tuple(choice.token_id for choice in (*self.accepted, *self.draft))
        left = self.request.params.max_new_tokens - len(written)
        params = replace(self.request.params, n=1, max_new_tokens=min(PIECE, left))
        first = self.request.first_sample + self.attempt
        return replace(self.request, params=params, written=written, first_sample=first)

    def add(self, piece: Continuation) -> None:
        """Add tokens to the draft."""
        self.draft += piece.choices
        self.usage += piece.usage
        whole = len(self.accepted) + len(self.draft) >= self.request.params.max_new_tokens
        self.ended = piece.finish_reason if piece.finish_reason != "length" or whole else None

    def segment(self, segments: Segments) -> int | None:
        """The tokens of the segment that the draft begins with; None if it has not ended."""
        for place in range(segments.shortest, len(self.draft)):
            if place >= segments.longest or entropy_of(self.draft[place]) >= segments.entropy:
                return place
        return len(self.draft) if self.ended is not None else None

    def judge(self, length: int, score: float, segments: Segments, attempts: int) -> None:
        """Accept the segment that the draft begins with, or refuse it; of the last attempt, take the best."""
        whole = len(self.accepted) + length
        threshold = min(
            segments.goal,
            self.start + (segments.goal - self.start) * whole / self.request.params.max_new_tokens,
        )
        segment, ended = self.draft[:length], self.ended if length == len(self.draft) else None
        if uniform(self.request, self.attempt, whole) < acceptance(score - threshold, segments.softness):
            self._accept(segment, ended, self.draft[length:])
            return
        self.refused.append((score, segment, ended))
        self.attempt += 1
        self.draft, self.ended = (), None
        if len(self.refused) >= attempts:
            _, best, ended = max(self.refused, key=lambda refused: refused[0])
            self._accept(best, ended, ())

    def _accept(self, segment: tuple[Choice, ...], ended: FinishReason | None, rest: tuple[Choice, ...]) -> None:
        self.accepted += segment
        self.draft, self.reason, self.refused = rest, ended, []


def in_segments(
    engine: Engine, by: Steer, requests: Sequence[Request], segments: Segments
) -> list[list[tuple[int, Continuation]]]:
    """One text of each prompt, a segment at a time: each is accepted, or written again.

    A segment is written at most n times; if none is accepted, the one with the highest reward is taken. What was
    written past the end of an accepted segment is kept: if every segment is accepted, the text is the plain sample.

    Differs from the paper: the entropy is that over the candidates, not over the vocabulary. All prompts are written in
    one batch, each at its own segment.

    Args:
        engine: a session, whose prefix cache keeps what is written.
        by: the rewards.
        requests: n is the most attempts at a segment.
        segments: where segments end, and when they are accepted.

    Returns:
        One text of each prompt, with the number 0.
    """
    texts = [
        SegmentedText(request, start)
        for request, start in zip(requests, _starts(engine, by, requests, segments), strict=True)
    ]
    while active := [text for text in texts if text.reason is None]:
        if short := [text for text in active if text.segment(segments) is None]:
            for text, (piece,) in zip(short, engine.sample([text.next_piece() for text in short]), strict=True):
                text.add(piece)
        lengths = [(text, length) for text in active if (length := text.segment(segments)) is not None]
        if lengths:
            scores = reward_sums(engine, by, [ids_of(engine, text, length) for text, length in lengths]).tolist()
            for (text, length), score in zip(lengths, scores, strict=True):
                text.judge(length, score, segments, text.request.params.n)
    return [[(0, Continuation(named_alike(text.accepted), text.reason or "length", text.usage))] for text in texts]


def _starts(engine: Engine, by: Steer, requests: Sequence[Request], segments: Segments) -> list[float]:
    """τ for an empty text of each prompt. A prompt of one token has no reward of its own: it is the goal there."""
    scored = [list(request.prefix) for request in requests if len(request.prefix) > 1]
    rewards = iter(reward_sums(engine, by, scored).tolist() if scored else [])
    bare = [next(rewards) if len(request.prefix) > 1 else segments.goal for request in requests]
    return [(1 - segments.start) * reward + segments.start * segments.goal for reward in bare]


def ids_of(engine: Engine, text: SegmentedText, length: int) -> list[int]:
    """The tokens of a prompt and its text up to the end of a segment, without EOS and stop string."""
    written = [choice.token_id for choice in (*text.accepted, *text.draft[:length])]
    return [*text.request.prefix, *visible_ids(engine.codec, written, text.request.params.stop)]


def entropy_of(choice: Choice) -> float:
    """The entropy of the unsteered model over the candidates of a token, in nats; those that top-p left out are none.

    Of more than 1,024 candidates, over the 64 most likely ones, which a choice keeps.
    """
    kept = choice.base_logprobs.masked_fill(choice.steered_logprobs.isneginf(), -math.inf)
    logprobs = kept.float().log_softmax(-1)
    return -float((logprobs.exp() * logprobs).nan_to_num().sum())


def acceptance(above: float, softness: float) -> float:
    """The probability that a segment is accepted whose reward is this far above the threshold."""
    if softness == 0:
        return float(above >= 0)
    return math.exp(min(0.0, above / softness))


def uniform(request: Request, attempt: int, length: int) -> float:
    """A number from 0 to below 1 that depends on the seed, the prompt and the place in the text alone."""
    record = repr((request.params.seed, list(request.prefix), request.first_sample, attempt, length))
    digest = hashlib.blake2b(record.encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> (64 - BITS)) / 2**BITS
