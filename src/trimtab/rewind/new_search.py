"""Start searches: arguments are checked, seeds are drawn, and each prompt is given the room that its readers have."""

import secrets
from collections.abc import Sequence
from numbers import Integral

from trimtab.checking import shown
from trimtab.engines.base import Engine
from trimtab.engines.sampling_params import MAX_SEED
from trimtab.errors import InvalidPrompt, InvalidSetting, WrongType
from trimtab.judges.base import Judge, JudgesWholeTexts, ReadsTokens
from trimtab.judges.unit_tests import UnitTests
from trimtab.models.codec import Prompt, TextCodec, prompt_text
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.rewind.search import Search
from trimtab.steering.steer import Steer, distinct_rewards


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
        raise WrongType(f"got settings={shown(settings)}, expected RewindSettings(…)")
    if not isinstance(budget, Budget):
        raise WrongType(f"got budget={shown(budget)}, expected Budget(…)")
    if not isinstance(steer, Steer | None):
        raise WrongType(f"got steer={shown(steer)}, expected one Steer for all prompts: reward.toward(beta)")
    settings.check_vocabulary(engine.vocabulary_size)


def check_whole_drafts(judge: Judge, settings: RewindSettings) -> None:
    """Check that a judge of finished texts gets them.

    Raises:
        InvalidSetting: drafts end with a sentence.
    """
    if isinstance(judge, JudgesWholeTexts) and not settings.whole_drafts:
        raise InvalidSetting(
            f"got drafts that end with a sentence, but the judge {shown(judge.name)} judges finished texts; write "
            "whole drafts: --whole-drafts, or RewindSettings(whole_drafts=True)"
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
        raise WrongType(f"got seed={shown(seed)}, expected a whole number, or a list of them")
    numbers = [int(each) for each in seeds]
    if any(abs(each) >= MAX_SEED for each in numbers):
        raise InvalidSetting(f"got seed={shown(seed)}, expected whole numbers of at most 128 bits")
    if len(seeds) != count:
        raise InvalidSetting(f"got {len(seeds)} seeds, expected one, or one for each of {count} prompts")
    return numbers


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
    ids = tuple(engine.codec.encode_prompt(prompt))
    for reward in distinct_rewards([steer]):
        reward.check_serves(engine.codec.fingerprint)
        reward.check_candidates(settings.widest)
    limit = min(settings.max_new_tokens, room_for_text(engine.codec, prompt, ids, steer, judge))
    return Search(prompt, ids, seed, limit, settings, engine.codec.decode_behind, budget.max_iterations)


def room_for_text(
    codec: TextCodec, prompt: Prompt, ids: Sequence[int], steer: Steer | None, judge: Judge | None
) -> int:
    """The most tokens that the model, the rewards of a steer and a judge can read behind a prompt.

    Args:
        codec: of the model that writes.
        prompt: the prompt.
        ids: its tokens.
        steer: None for no rewards.
        judge: None for no judge.

    Raises:
        InvalidPrompt: the prompt fills a context, or a judge has no tests for it.
        RewardMismatch: the judge reads the tokens of another tokenizer.
    """
    if isinstance(judge, UnitTests):
        judge.check_prompt(prompt)
    text, rooms = prompt_text(prompt), [codec.context_length - len(ids)]
    rooms += [each.context_length - each.extra_tokens - len(ids) for each in distinct_rewards([steer])]
    if judge is not None and isinstance(judge, ReadsTokens):
        rooms.append(judge.room(codec, text, ids))
    if min(rooms) < 1:
        raise InvalidPrompt(
            f"got a prompt of {len(ids)} tokens, which fills the context of the model, of its rewards or of its judge; "
            f"shorten the one that starts {shown(text)}"
        )
    return min(rooms)
