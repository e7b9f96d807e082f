"""Readers of texts: a judge's scores, fluency under another language model, a reward along the text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trimtab.engines.base import Engine, require
from trimtab.errors import InvalidSetting, NonFiniteReward
from trimtab.evaluation.tasks import Task
from trimtab.judges.base import Judge, needs_of
from trimtab.judges.draft import Draft
from trimtab.judges.reward_judge import RewardJudge
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.measure import FRACTIONS, reward_at_fraction

BATCH_SIZE = 32
REWARD = "reward:"  # the names of judges that are rewards start with it
Text = Mapping[str, Any]  # one line of a row, as `sweep.describe` writes it
Read = Callable[[Sequence[Text]], Sequence[Sequence[float]]]  # texts to the readings of each


def judge_reader(judge: Judge, task: Task, engine: Engine | None = None) -> Read:
    """A reader of a judge's score, one number per text.

    Args:
        judge: the judge.
        task: says whether the judge sees the continuation alone or prompt and continuation.
        engine: engine for judges that need one.

    Raises:
        InvalidSetting: the judge needs an engine, and there is none.
        UnsupportedByEngine: the engine lacks a capability that the judge needs.
        NonFiniteReward: from the reader: the judge is a reward, and a score is NaN or infinite.
    """
    if needs_of(judge) and engine is None:
        raise InvalidSetting(f"got the judge {judge.name!r} without an engine, expected engine=lm.engine")
    if engine is not None:
        require(engine, needs_of(judge), f"the judge {judge.name!r}")

    def read(texts: Sequence[Text]) -> list[list[float]]:
        scores = judge.score([_draft(text, task, engine) for text in texts], engine)
        return [[score] for score in finite_if_reward(judge, scores)]

    return read


def finite_if_reward(judge: Judge, scores: Sequence[float]) -> list[float]:
    """The scores of a judge. Other judges may fail on a text; a reward that is not finite is damaged.

    Raises:
        NonFiniteReward: the judge is a reward, and a score is NaN or infinite.
    """
    values = [float(score) for score in scores]
    if isinstance(judge, RewardJudge) or judge.name.startswith(REWARD):
        check_finite(judge.name.removeprefix(REWARD), values)
    return values


def check_finite(name: str, rewards: Iterable[float]) -> None:
    """Check the scores of a reward.

    Raises:
        NonFiniteReward: one is NaN or infinite.
    """
    for reward in rewards:
        if not math.isfinite(reward):
            raise NonFiniteReward(
                f"got a score of {reward} from the reward {name!r}, expected a finite number; fetch or train it again"
            )


def _draft(text: Text, task: Task, engine: Engine | None) -> Draft:
    """A text as a judge sees it; without an engine, its tokens are left out."""
    prompt_ids = tuple(engine.codec.encode_prompt(text["prompt"])) if engine is not None else ()
    token_ids = tuple(text["token_ids"]) if engine is not None else ()
    if task.judged == "whole":
        return Draft("", (), (*prompt_ids, *token_ids), text["prompt"] + text["text"])
    return Draft(text["prompt"], prompt_ids, token_ids, text["text"])


def fluency_reader(engine: Engine) -> Read:
    """A reader of −log p(continuation | prompt) in nats and the number of the continuation's tokens.

    Prompt and continuation are tokenized together by the engine's tokenizer. The continuation is what follows the first
    n tokens, where n is the number of tokens of the prompt alone.

    Raises:
        UnsupportedByEngine: the engine computes no likelihoods.
    """
    require(engine, ["score"], "perplexity")

    def read(texts: Sequence[Text]) -> list[list[float]]:
        starts = [len(engine.codec.encode_prompt(text["prompt"])) for text in texts]
        wholes = [engine.codec.encode_prompt(text["prompt"] + text["text"]) for text in texts]
        found = [[0.0, 0.0] for _ in texts]  # an empty continuation costs nothing
        some = [n for n, (whole, start) in enumerate(zip(wholes, starts, strict=True)) if len(whole) > start]
        for batch in (some[place : place + BATCH_SIZE] for place in range(0, len(some), BATCH_SIZE)):
            continuations = [wholes[n][starts[n] :] for n in batch]
            scored = engine.score([wholes[n][: starts[n]] for n in batch], [[ids] for ids in continuations])
            for n, ids, (logprobs, _) in zip(batch, continuations, scored, strict=True):
                found[n] = [-logprobs.item(), float(len(ids))]
        return found

    return read


def profile_reader(reward: RewardModel, attribute: str | None) -> Read:
    """A reader of a reward after 10, 20 … 100 % of a continuation's tokens, with its prompt before it.

    Raises:
        NonFiniteReward: from the reader: a reward is NaN or infinite.
    """
    column = reward.card.attribute_index(attribute)

    def read(texts: Sequence[Text]) -> list[list[float]]:
        found = []
        for batch in (texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)):
            starts = [len(reward.encode(text["prompt"])) for text in batch]
            prefixes = reward.score_prefixes([text["prompt"] + text["text"] for text in batch])
            for start, values in zip(starts, prefixes, strict=True):
                later = values[start:, column].float().cpu().numpy()
                check_finite(reward.name, later.tolist())
                known = len(later) > 0
                found.append([reward_at_fraction(later, f) if known else math.nan for f in FRACTIONS])
        return found

    return read
