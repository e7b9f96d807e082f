"""Programs that fail are written again from the line of their error: critical sampling (CodeRL, 2207.01780 §3.3)."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from trimtab.engines.base import Choice, Continuation, Engine, Request
from trimtab.engines.reward_names import named_alike
from trimtab.errors import InvalidSetting
from trimtab.generation import Generation
from trimtab.judges.draft import Draft
from trimtab.judges.sandbox import Outcome, Report
from trimtab.judges.steps import token_ends
from trimtab.judges.unit_tests import UnitTests
from trimtab.models.codec import Prompt, TextCodec


def check_repairs(repairs: int, judge: object, requests: Sequence[Request]) -> UnitTests:
    """The tests by which drafts are repaired.

    Raises:
        InvalidSetting: the number is below 0, the judge runs no tests, or a text is greedy, so that it would be written
            again as it was.
    """
    if repairs < 0 or not isinstance(judge, UnitTests):
        raise InvalidSetting(f"got repairs={repairs}, expected at least 0, and by=trimtab.judges.UnitTests(…)")
    if any(request.params.temperature == 0 for request in requests):
        raise InvalidSetting("got repairs with temperature=0, expected above 0: a greedy text repeats its error")
    return judge


def repaired(
    engine: Engine,
    tests: UnitTests,
    requests: Sequence[Request],
    prompts: Sequence[Prompt],
    drafts: Sequence[Sequence[Generation]],
    rounds: int,
) -> list[list[Generation]]:
    """The drafts of each prompt, and those that were written again; a prompt with a passing draft is left alone.

    A round writes each failing draft of the round before again, from the start of the line at which its traceback ends.
    A draft without such a line, as one that returns a wrong answer, is written again as a whole.

    Differs from the paper: the line of the traceback replaces the value of a critic model.

    Args:
        engine: writes, in one batch per round.
        tests: the judge.
        requests: of the drafts; the seeds of further ones come from theirs.
        prompts: of the drafts.
        drafts: of each prompt.
        rounds: the most rounds.
    """
    found = [list(of_prompt) for of_prompt in drafts]
    latest = list(found)
    for number in range(rounds):
        flat = [(place, each) for place, of_prompt in enumerate(latest) for each in of_prompt]
        judged = [_draft(prompts[place], requests[place], each) for place, each in flat]
        reports = tests.reports(judged) if judged else []
        passed = {place for (place, _), each in zip(flat, reports, strict=True) if each.outcome is Outcome.PASSED}
        failed = [
            (place, each, _kept(engine.codec, tests, draft, each, report))
            for (place, each), draft, report in zip(flat, judged, reports, strict=True)
            if place not in passed
        ]
        if not failed:
            break
        nth = Counter[int]()  # a seed depends on no other prompt
        again = []
        for place, _, kept in failed:
            again.append(_again(requests[place], kept, number, nth[place]))
            nth[place] += 1
        latest = [[] for _ in found]
        for (place, old, kept), (new,) in zip(failed, engine.sample(again), strict=True):
            whole = Continuation(named_alike((*kept, *new.choices)), new.finish_reason, old.usage + new.usage)
            latest[place].append(old.rewritten(whole, sample=len(found[place])))
            found[place].append(latest[place][-1])
    return found


def _draft(prompt: Prompt, request: Request, written: Generation) -> Draft:
    return Draft.of(prompt, request.prefix, written.visible_ids, written.text)


def _kept(codec: TextCodec, tests: UnitTests, draft: Draft, written: Generation, report: Report) -> tuple[Choice, ...]:
    """The tokens before the line of the error; none without a line, or if no token would be left to write again."""
    place = tests.place_of(draft, report)
    count = sum(end <= place for end in token_ends(draft, codec))
    return tuple(token.choice for token in written.trace[:count]) if count < len(written.trace) else ()


def _again(request: Request, kept: Sequence[Choice], number: int, draft: int) -> Request:
    """The rest of a draft behind what is kept of it, under a seed of its round and its place in the round."""
    seed = hashlib.blake2b(repr((request.params.seed, number, draft)).encode(), digest_size=7).digest()
    params = replace(
        request.params,
        n=1,
        seed=int.from_bytes(seed),
        max_new_tokens=request.params.max_new_tokens - len(kept),
    )
    return replace(request, written=tuple(choice.token_id for choice in kept), params=params)
