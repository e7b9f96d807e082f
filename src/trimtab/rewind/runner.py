"""Run searches: everything is checked first, then all prompts are searched together, a batch per turn."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypedDict, final

from trimtab.engines.base import Engine, require
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.judges.base import Judge, ReadsTokens, checked, needs_of
from trimtab.judges.draft import Draft
from trimtab.judges.load import JudgeLike, as_judge
from trimtab.models.codec import Prompt, prompt_text
from trimtab.models.usage import Usage
from trimtab.rewind.judged_draft import JudgedDraft
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.rewind.search import Search
from trimtab.rewind.similarity import Similarity, as_similarity
from trimtab.rewind.writer import PendingRequest, Writer
from trimtab.steering.steer import Steer, distinct_rewards


@final
@dataclass(frozen=True)
class SearchProgress:
    """The state of the searches of one call, after a turn.

    Attributes:
        searches: all of them.
        usage: what went through the models so far.
        seconds: time since the start.
    """

    searches: Sequence[Search]
    usage: Usage
    seconds: float


Progress = Callable[[SearchProgress], None]


class RewindOptions(TypedDict, total=False):
    """The keyword arguments of `LanguageModel.rewind`."""

    similarity: str | Similarity
    stop: str | Sequence[str]
    seed: int | Sequence[int] | None
    budget: Budget | None
    progress: Progress | None


def rewind_prompts(
    engine: Engine,
    prompts: Sequence[Prompt],
    judge: JudgeLike,
    steer: Steer | None,
    settings: RewindSettings | None,
    options: RewindOptions,
) -> list[SearchResult]:
    """Search a continuation of each prompt, all together. Arguments and errors as in `LanguageModel.rewind`."""
    if unknown := sorted(set(options) - set(RewindOptions.__annotations__)):
        known = ", ".join(sorted(RewindOptions.__annotations__))
        raise InvalidSetting(
            f"got {unknown[0]}, expected one of: {known}; other settings belong into RewindSettings(…)"
        )
    settings, budget = settings or RewindSettings(), options.get("budget") or Budget()
    check_arguments(engine, prompts, steer, settings, budget)
    judging, comparing = as_judge(judge), as_similarity(options.get("similarity", "lm"))
    require(engine, needs_of(judging), f"the judge {judging.name!r}")
    require(engine, comparing.needs, f"similarity={comparing.name!r}")
    seeds = search_seeds(options.get("seed"), len(prompts))
    stop = options.get("stop", ())
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    session = engine.session()
    searches = [
        new_search(session, prompt, seed, judging, steer, settings, budget)
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    runner = SearchRunner(session, Writer(session, steer, stop, settings), judging, comparing)
    last = runner.run(searches, budget, options.get("progress"))
    return [
        SearchResult(engine.codec, prompt, search, stop, last.usage, last.seconds)
        for prompt, search in zip(prompts, searches, strict=True)
    ]


def check_arguments(
    engine: Engine, prompts: Sequence[Prompt], steer: Steer | None, settings: RewindSettings, budget: Budget
) -> None:
    """Refuse arguments of the wrong kind, and more candidates than there are tokens.

    Raises:
        InvalidSetting: one of these.
    """
    if not prompts:
        raise InvalidSetting("got no prompts, expected at least one")
    if not isinstance(settings, RewindSettings):
        raise InvalidSetting(f"got settings={settings!r}, expected RewindSettings(…)")
    if not isinstance(budget, Budget):
        raise InvalidSetting(f"got budget={budget!r}, expected Budget(…)")
    if not isinstance(steer, Steer | None):
        raise InvalidSetting(f"got steer={steer!r}, expected one Steer for all prompts: reward.toward(beta)")
    if settings.widest > engine.vocabulary_size:
        raise InvalidSetting(
            f"got top_k={settings.top_k}, max_children={settings.max_children}, expected at most the vocabulary size, "
            f"{engine.vocabulary_size}"
        )


def search_seeds(seed: int | Sequence[int] | None, count: int) -> list[int]:
    """One seed per search: the given one for all, the given list, or new ones.

    Raises:
        InvalidSetting: not whole numbers, or a list of another length.
    """
    if seed is None:
        return [secrets.randbits(63) for _ in range(count)]
    seeds = [seed] * count if isinstance(seed, Integral) else seed
    if not isinstance(seeds, Sequence) or not all(isinstance(each, Integral) for each in seeds):
        raise InvalidSetting(f"got seed={seed!r}, expected a whole number, or a list of them")
    if len(seeds) != count:
        raise InvalidSetting(f"got {len(seeds)} seeds, expected one, or one for each of {count} prompts")
    return [int(each) for each in seeds]


def new_search(
    engine: Engine,
    prompt: Prompt,
    seed: int,
    judge: Judge,
    steer: Steer | None,
    settings: RewindSettings,
    budget: Budget,
) -> Search:
    """The search of one prompt, limited to the room that the model, the rewards and the judge have.

    Raises:
        InvalidPrompt: there is none.
        RewardMismatch: a reward was made for another tokenizer.
    """
    ids, text = tuple(engine.codec.encode_prompt(prompt)), prompt_text(prompt)
    rooms = [engine.codec.context_length - len(ids)]
    for reward in distinct_rewards([steer]):
        reward.check_serves(engine.codec.fingerprint)
        reward.check_candidates(settings.widest)
        rooms.append(reward.context_length - reward.extra_tokens - len(ids))
    if isinstance(judge, ReadsTokens):
        rooms.append(judge.room(engine.codec, text, ids))
    if min(rooms) < 1:
        raise InvalidPrompt(
            f"got a prompt of {len(ids)} tokens, which fills the context of the model, of its rewards or of its judge; "
            f"shorten the one that starts {text[:40]!r}"
        )
    limit = min(settings.max_new_tokens, *rooms)
    return Search(text, ids, seed, limit, settings, engine.codec.decode, budget.max_iterations)


@final
class SearchRunner:
    """Runs searches together: each turn writes and judges what all of them need, as batches.

    Args:
        engine: an engine session; it keeps prefixes and counts usage.
        writer: writes branches and drafts.
        judge: scores drafts.
        similarity: compares branches.
    """

    def __init__(self, engine: Engine, writer: Writer, judge: Judge, similarity: Similarity):
        self._engine, self._writer, self._judge, self._similarity = engine, writer, judge, similarity

    def run(self, searches: Sequence[Search], budget: Budget, progress: Progress | None = None) -> SearchProgress:
        """Search until all texts are finished or the budget is spent. Ctrl-C ends them with the best drafts so far.

        Returns:
            The state after the last turn.
        """
        start, before = time.monotonic(), self._engine.usage

        def state() -> SearchProgress:
            return SearchProgress(searches, self._engine.usage - before, time.monotonic() - start)

        try:
            while pending := [(search, wanted) for search in searches for wanted in search.pending()]:
                self._turn(pending)
                now = state()
                if progress is not None:
                    progress(now)
                for search in searches:
                    if not search.finished and exhausted(now, budget):
                        search.stop("budget")
        except KeyboardInterrupt:
            for search in searches:
                if not search.finished:
                    search.stop("interrupted")
        return state()

    def _turn(self, pending: Sequence[PendingRequest]) -> None:
        drafts_written = self._writer.write(pending)
        if not drafts_written:
            return
        drafts = [written.draft for _, _, written in drafts_written]
        scores = self._scores(drafts)
        embeddings = self._similarity.embed(drafts, self._engine)
        for (search, node, written), score, of_draft in zip(drafts_written, scores, embeddings, strict=True):
            search.judged[node] = JudgedDraft(written.draft, score, written.choices, written.rollout_text, of_draft)

    def _scores(self, drafts: Sequence[Draft]) -> list[float]:
        """RAIN's s of each draft: −1 (bad) to 1 (good)."""
        return [2 * score - 1 for score in checked(self._judge.name, self._judge.score(drafts, self._engine))]


def exhausted(state: SearchProgress, budget: Budget) -> bool:
    """Whether the budget of tokens or of seconds is spent."""
    limits = ((state.usage.tokens, budget.max_encoded), (state.seconds, budget.max_seconds))
    return any(limit is not None and value >= limit for value, limit in limits)
