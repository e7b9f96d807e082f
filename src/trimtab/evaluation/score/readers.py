"""Readers of texts: a judge's scores, fluency under another language model, a reward along the text."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trimtab.engines.base import Engine, require
from trimtab.errors import InvalidPrompt, InvalidSetting, NonFiniteReward
from trimtab.evaluation.tasks import Task
from trimtab.judges.base import Judge, needs_of
from trimtab.judges.draft import Draft
from trimtab.judges.reward_judge import RewardJudge
from trimtab.models.codec import Prompt, TextCodec
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.scored_texts import encode_scored
from trimtab.training.measure import FRACTIONS, reward_at_fraction

BATCH_SIZE = 32
REWARD = "reward:"  # the names of judges that are rewards start with it
MESSAGES = "messages"  # of a text whose prompt was a conversation
Text = Mapping[str, Any]  # one line of a row, as `sweep.describe` writes it; with messages where they were sent
Read = Callable[[Sequence[Text]], Sequence[Sequence[float]]]  # texts to the readings of each


def prompt_of(text: Text) -> Prompt:
    """What the model was given: the messages, or the text of the table."""
    prompt: Prompt = text.get(MESSAGES, text["prompt"])
    return prompt


def judge_reader(judge: Judge, task: Task, engine: Engine | None = None) -> Read:
    """A reader of a judge's score, one number per text.

    Args:
        judge: the judge.
        task: says whether the judge sees the continuation alone or prompt and continuation. Of an answer to messages,
            it sees the answer alone.
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
    prompt = prompt_of(text)
    prompt_ids = tuple(engine.codec.encode_prompt(prompt)) if engine is not None else ()
    token_ids = tuple(text["token_ids"]) if engine is not None else ()
    if task.judged == "whole" and isinstance(prompt, str):
        return Draft("", (), (*prompt_ids, *token_ids), prompt + text["text"])
    return Draft.of(prompt, prompt_ids, token_ids, text["text"])


def split_ids(text: Text, codec: TextCodec) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of the text behind it.

    A plain prompt and its continuation are tokenized together; the continuation is what follows the first n tokens,
    where n is the number of tokens of the prompt alone. An answer is tokenized alone, behind the open turn.

    Raises:
        InvalidPrompt: together they are longer than the context.
    """
    prompt = prompt_of(text)
    before = codec.encode_prompt(prompt)
    if isinstance(prompt, str):
        whole = codec.encode_prompt(prompt + text["text"])
        return whole[: len(before)], whole[len(before) :]
    answer = codec.encode_text(text["text"])
    if len(before) + len(answer) > codec.context_length:
        raise InvalidPrompt(
            f"got a conversation of {len(before) + len(answer)} tokens, expected at most {codec.context_length}"
        )
    return before, answer


def fluency_reader(engine: Engine) -> Read:
    """A reader of −log p(continuation | prompt) in nats and the number of the continuation's tokens.

    The engine's tokenizer, and its chat template, encode them: see `split_ids`.

    Raises:
        UnsupportedByEngine: the engine computes no likelihoods.
    """
    require(engine, ["score"], "perplexity")

    def read(texts: Sequence[Text]) -> list[list[float]]:
        pairs = [split_ids(text, engine.codec) for text in texts]
        found = [[0.0, 0.0] for _ in texts]  # an empty continuation costs nothing
        some = [n for n, (_, continuation) in enumerate(pairs) if continuation]
        for batch in (some[place : place + BATCH_SIZE] for place in range(0, len(some), BATCH_SIZE)):
            scored = engine.score([pairs[n][0] for n in batch], [[pairs[n][1]] for n in batch])
            for n, (logprobs, _) in zip(batch, scored, strict=True):
                found[n] = [-logprobs.item(), float(len(pairs[n][1]))]
        return found

    return read


def profile_reader(reward: RewardModel, attribute: str | None) -> Read:
    """A reader of a reward after 10, 20 … 100 % of a continuation's tokens, with its prompt before it.

    A conversation is encoded in the chat template of the reward's base.

    Raises:
        NonFiniteReward: from the reader: a reward is NaN or infinite.
    """
    column = reward.card.attribute_index(attribute)

    def read(texts: Sequence[Text]) -> list[list[float]]:
        found = []
        for batch in (texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)):
            starts, wholes = zip(*(_scored_ids(text, reward) for text in batch), strict=True)
            for start, values in zip(starts, reward.score_prefixes_of_ids(wholes), strict=True):
                later = values[start:, column].float().cpu().numpy()
                check_finite(reward.name, later.tolist())
                known = len(later) > 0
                found.append([reward_at_fraction(later, f) if known else math.nan for f in FRACTIONS])
        return found

    return read


def _scored_ids(text: Text, reward: RewardModel) -> tuple[int, list[int]]:
    """The number of the prompt's tokens, and the tokens of the prompt with its continuation."""
    prompt = prompt_of(text)
    if isinstance(prompt, str):
        return len(reward.encode(prompt)), reward.encode(prompt + text["text"])
    before = reward.base.codec.encode_prompt(prompt)
    return len(before), encode_scored(reward.card, reward.base.codec, text["text"], before)
