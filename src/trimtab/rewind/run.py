"""From prompts to searched texts: everything checked first, then searched together."""

from collections.abc import Sequence
from typing import Any

from trimtab.engines.guide import rewards_of
from trimtab.engines.settings import Sampling
from trimtab.engines.torch import TorchEngine
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.rewind.judge import as_judge
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
    Sampling(settings.top_k).check_vocabulary(lm.vocabulary_size)
    judging, comparing = as_judge(judge), as_similarity(similarity)
    engine = TorchEngine(lm, memory)
    ids = [tuple(lm.encode(prompt, chat)) for prompt in prompts]
    rooms = [lm.context_length]
    for reward in rewards_of([steer]):
        reward.check_serves(lm.tokenizer_fingerprint)
        reward.check_candidates(settings.top_k)
        rooms.append(reward.context_length - reward.extra_tokens)
    if min(rooms) <= max(map(len, ids)):
        raise InvalidPrompt(f"got a prompt of {max(map(len, ids))} tokens, expected 1 to {min(rooms) - 1}")
    searches = [
        Search(
            prompt,
            of_prompt,
            seed,
            min(settings.max_new_tokens, min(rooms) - len(of_prompt)),
            settings,
            lm.decode,
            budget.max_iterations,
        )
        for prompt, of_prompt, seed in zip(prompts, ids, seeds, strict=True)
    ]
    writer = Writer(lm, engine, steer, stop, settings)
    last = Rewinder(engine, memory, writer, judging, comparing).run(searches, budget, progress)
    return [Rewound(lm, search, stop, last.spent, last.seconds) for search in searches]
