"""From prompts to searched texts: everything checked first, then searched together."""

from collections.abc import Sequence
from typing import Any

from trimtab.engines.guide import rewards_of
from trimtab.engines.torch import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.rewind.judge import Judge, ReadsTokens, as_judge
from trimtab.rewind.result import Rewound
from trimtab.rewind.rewinder import Progress, Rewinder
from trimtab.rewind.search import Search
from trimtab.rewind.settings import Budget, RewindSettings
from trimtab.rewind.similarity import as_similarity
from trimtab.rewind.writing import Writer
from trimtab.steering.steer import Steer


def rewind_prompts(
    lm: FrozenLM,
    prompts: Sequence[str],
    judge: Any,
    steer: Steer | None,
    settings: RewindSettings,
    *,
    similarity: Any,
    stop: Sequence[str],
    seeds: Sequence[int],
    chat: bool,
    budget: Budget,
    memory: Memory,
    progress: Progress,
) -> list[Rewound]:
    """Search a continuation of each prompt, all together; arguments and errors as in `LanguageModel.rewind`."""
    if not prompts:
        raise InvalidSetting("got no prompts, expected at least one")
    if settings.widest > lm.vocabulary_size:
        raise InvalidSetting(
            f"got top_k={settings.top_k}, most_children={settings.most_children}, expected at most the vocabulary of "
            f"{lm.vocabulary_size}"
        )
    judging, comparing = as_judge(judge), as_similarity(similarity)
    engine = TorchEngine(lm, memory)
    ids = [tuple(lm.encode(prompt, chat)) for prompt in prompts]
    limits = [
        min(settings.max_new_tokens, _room(lm, steer, judging, settings, prompt, of_prompt))
        for prompt, of_prompt in zip(prompts, ids, strict=True)
    ]
    searches = [
        Search(prompt, of_prompt, seed, limit, settings, lm.decode, budget.max_iterations)
        for prompt, of_prompt, seed, limit in zip(prompts, ids, seeds, limits, strict=True)
    ]
    writer = Writer(lm, engine, steer, stop, settings)
    last = Rewinder(engine, memory, writer, judging, comparing).run(searches, budget, progress)
    return [Rewound(lm, search, stop, last.spent, last.seconds) for search in searches]


def _room(
    lm: FrozenLM, steer: Steer | None, judge: Judge, settings: RewindSettings, prompt: str, ids: Sequence[int]
) -> int:
    """How many tokens can follow a prompt in the contexts of the model, of what steers it and of the judge."""
    rooms = [lm.context_length - len(ids)]
    for reward in rewards_of([steer]):
        reward.check_serves(lm.tokenizer_fingerprint)
        reward.check_candidates(settings.widest)
        rooms.append(reward.context_length - reward.extra_tokens - len(ids))
    if isinstance(judge, ReadsTokens):
        rooms.append(judge.room(lm, prompt, ids))
    if min(rooms) < 1:
        raise InvalidPrompt(
            f"got a prompt of {len(ids)} tokens, with which the context of the model, of its rewards or of its judge "
            f"is full; shorten the one that starts {prompt[:40]!r}"
        )
    return min(rooms)
