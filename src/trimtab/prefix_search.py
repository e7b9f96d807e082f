"""Best-of-n that looks at prefixes: the best block of several, or drafts of which the worse half ends early."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from trimtab.best_of import reward_sums, within_context
from trimtab.best_of_settings import Segments
from trimtab.engines.base import Choice, Continuation, DecodeUsage, Engine, FinishReason, Request
from trimtab.engines.reward_names import named_alike
from trimtab.errors import InvalidSetting
from trimtab.models.detokenizer import visible_ids
from trimtab.segment_search import in_segments
from trimtab.steering.steer import Steer

Numbered = tuple[int, Continuation]  # a sample's number, and the sample
PrefixSearch = Callable[[Engine, Sequence[Request]], list[list[Numbered]]]


def prefix_search(
    by: object, block: int | None, halve_every: int | None, segments: Segments | None
) -> PrefixSearch | None:
    """What writes the drafts if the reward of unfinished texts decides; None if no option is given.

    Raises:
        InvalidSetting: several are given, a number is below 1, or drafts are not ranked by rewards.
    """
    given = {"block": block, "halve_every": halve_every, "segments": segments}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    too_small = any(isinstance(each, int) and each < 1 for each in given.values())
    if len(given) > 1 or not isinstance(by, Steer) or too_small:
        raise InvalidSetting(
            f"got {' and '.join(f'{name}={value}' for name, value in given.items())}, expected at least 1 token, one "
            "of block, halve_every and segments, and by= a reward or a Steer, which judges prefixes"
        )

    def write(engine: Engine, requests: Sequence[Request]) -> list[list[Numbered]]:
        limited = [within_context(engine, by, request) for request in requests]
        if segments is not None:
            return in_segments(engine, by, limited, segments)
        if block is not None:
            return in_blocks(engine, by, limited, block)
        return by_halves(engine, by, limited, halve_every or 1)

    return write


def in_blocks(engine: Engine, by: Steer, requests: Sequence[Request], block: int) -> list[list[Numbered]]:
    """One text of each prompt, a block at a time: the best of n blocks by the reward of the whole prefix (2310.17022).

    Controlled Decoding's blockwise best-of-K, with a reward of prefixes as the value function. A block of the whole
    length is best-of-n.

    Differs from the paper: its value function is trained for the purpose; here any reward judges prefixes.

    Args:
        engine: a session, whose prefix cache keeps what is written.
        by: the rewards.
        requests: with n samples each.
        block: tokens of a block.
    """
    written: list[list[Choice]] = [[] for _ in requests]
    usage = [DecodeUsage() for _ in requests]
    reasons: list[FinishReason | None] = [None] * len(requests)
    while active := [place for place, reason in enumerate(reasons) if reason is None]:
        asked = [_continued(requests[place], written[place], block, requests[place].params.n) for place in active]
        answers = engine.sample(asked)
        flat = [(place, each) for place, of_prompt in zip(active, answers, strict=True) for each in of_prompt]
        scores = _scores(engine, by, [(requests[place], [*written[place], *each.choices]) for place, each in flat])
        for place in active:
            of_prompt = [(score, each) for (other, each), score in zip(flat, scores, strict=True) if other == place]
            _, best = max(of_prompt, key=lambda scored: scored[0])
            written[place] += best.choices
            usage[place] = sum((each.usage for _, each in of_prompt), start=usage[place])
            reasons[place] = _reason(requests[place], written[place], best.finish_reason)
    return [
        [(0, Continuation(named_alike(own), reason or "length", used))]
        for own, reason, used in zip(written, reasons, usage, strict=True)
    ]


def by_halves(engine: Engine, by: Steer, requests: Sequence[Request], every: int) -> list[list[Numbered]]:
    """The drafts of each prompt that are left when the worse half ends, time and again (2410.20290).

    Speculative rejection: after every few tokens, drafts are ranked by the reward of what they have so far. A draft
    that is left is the one that best-of-n writes, token by token. Drafts that have ended stay.

    Differs from the paper: drafts end at fixed lengths, not when the memory of the device is full.

    Args:
        engine: a session, whose prefix cache keeps what is written.
        by: the rewards.
        requests: with n samples each.
        every: tokens between two rankings.
    """
    rows = [(place, sample) for place, request in enumerate(requests) for sample in range(request.params.n)]
    written: dict[tuple[int, int], list[Choice]] = {row: [] for row in rows}
    usage = dict.fromkeys(rows, DecodeUsage())
    reasons: dict[tuple[int, int], FinishReason | None] = dict.fromkeys(rows)
    active = rows
    while active:
        asked = [_continued(requests[row[0]], written[row], every, 1, row[1]) for row in active]
        for row, (new,) in zip(active, engine.sample(asked), strict=True):
            written[row] += new.choices
            usage[row] += new.usage
            reasons[row] = _reason(requests[row[0]], written[row], new.finish_reason)
        active = [row for row in active if reasons[row] is None]
        scores = _scores(engine, by, [(requests[place], written[place, sample]) for place, sample in active])
        active = _better_half(dict(zip(active, scores, strict=True)))
    ended = {row: reason for row, reason in reasons.items() if reason is not None}
    return [
        [
            (sample, Continuation(named_alike(written[place, sample]), reason, usage[place, sample]))
            for (place, sample), reason in ended.items()
            if place == number
        ]
        for number in range(len(requests))
    ]


def _better_half(scores: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """The better half of the rows of each prompt, in order; of an odd number, the middle one stays."""
    kept = []
    for place in dict.fromkeys(row[0] for row in scores):
        of_prompt = sorted((row for row in scores if row[0] == place), key=lambda row: -scores[row])
        kept += sorted(of_prompt[: (len(of_prompt) + 1) // 2])
    return kept


def _continued(request: Request, written: Sequence[Choice], most: int, n: int, first_sample: int = 0) -> Request:
    """A request for the next tokens behind what is written."""
    left = request.params.max_new_tokens - len(written)
    params = replace(request.params, n=n, max_new_tokens=min(most, left))
    ids = tuple(choice.token_id for choice in written)
    return replace(request, params=params, written=ids, first_sample=request.first_sample + first_sample)


def _reason(request: Request, written: Sequence[Choice], reason: FinishReason) -> FinishReason | None:
    """Why a text ends; None if only its part of it does."""
    more = reason == "length" and len(written) < request.params.max_new_tokens
    return None if more else reason


def _scores(engine: Engine, by: Steer, texts: Sequence[tuple[Request, Sequence[Choice]]]) -> list[float]:
    ids = [
        [*request.prefix, *visible_ids(engine.codec, [each.token_id for each in choices], request.params.stop)]
        for request, choices in texts
    ]
    return reward_sums(engine, by, ids).tolist() if ids else torch.zeros(0).tolist()
