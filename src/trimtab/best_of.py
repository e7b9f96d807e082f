"""Best-of-n: write n drafts and keep the one with the highest reward. The yardstick of every decode-time method."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Engine, Request, require
from trimtab.engines.request_limit import request_limit
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.generation import Generation
from trimtab.judges.base import Judge, ReadsTokens, check_scores, description_of, needs_of
from trimtab.judges.draft import Draft
from trimtab.judges.ranker import Ranker
from trimtab.judges.unit_tests import UnitTests
from trimtab.models.codec import Prompt, TextCodec, prompt_text
from trimtab.rewards.any_reward import check_scores_whole_texts
from trimtab.steering.steer import Steer, distinct_rewards

BATCH_TEXTS = 128
Ranking = Steer | Ranker | Judge


@final
@dataclass(frozen=True)
class RankedDrafts:
    """The drafts of one prompt, ranked.

    Attributes:
        drafts: the best first; of equal ones, the one that was written first.
        scores: Σ ±β · r(prompt + draft) of each, minus where the steer is away. Rewards are not clamped here: clamping
            would tie the best drafts. Of a judge: its score, from 0 to 1.
        by: the ranking in records of a run: each reward with its fingerprint, direction and β.
    """

    drafts: tuple[Generation, ...]
    scores: tuple[float, ...]
    by: tuple[dict[str, object], ...] = ()

    @property
    def text(self) -> str:
        """The text of the best draft."""
        return self.drafts[0].text

    @property
    def provenance(self) -> dict[str, object]:
        """What wrote and chose the best draft, ready for JSON: the draft's own provenance, and the ranking as `by`."""
        return {**self.drafts[0].provenance, "by": list(self.by)}


def check_ranking(engine: Engine, by: Ranking, prompts: Sequence[Prompt] = ()) -> None:
    """Refuse a ranking before any draft is written.

    Raises:
        UnsupportedByEngine: the engine lacks what the ranking needs.
        InvalidSetting: a reward scores one token at a time, or the rewards rank nothing.
        RewardMismatch: a reward was made for another tokenizer.
        InvalidPrompt: a Ranker cannot read a prompt, or there are no tests for it.
    """
    if isinstance(by, Ranker | UnitTests):
        for prompt in prompts:
            by.check_prompt(prompt)
    if not isinstance(by, Steer):
        return None if isinstance(by, Ranker) else require(engine, needs_of(by), f"the judge {by.name!r}")
    require(engine, ["rewards"], "best-of-n")
    check_ranks(by)
    for reward in distinct_rewards([by]):
        check_scores_whole_texts(reward)
        reward.check_serves(engine.codec.fingerprint)


def check_ranks(by: Steer) -> None:
    """Refuse rewards that rank nothing.

    Raises:
        InvalidSetting: each β is 0, or they cancel each other.
    """
    by.check_acts()
    if not any(term.beta for term in by.terms):
        raise InvalidSetting("got β = 0 to rank by, expected toward(1) or away(1)")


def limited(engine: Engine, by: Ranking, prompt: Prompt, request: Request) -> Request:
    """A request that ends where what ranks its drafts can read no more. Errors as in the two functions below."""
    if isinstance(by, Steer):
        return within_context(engine, by, request)
    return within_room(engine, by, prompt, request) if isinstance(by, ReadsTokens) else request


def within_context(engine: Engine, by: Steer, request: Request) -> Request:
    """A request that ends where the context of the model, or of a reward that ranks its drafts, ends.

    Raises:
        InvalidPrompt: a reward has no room for a token behind the prompt; or as in `request_limit`.
    """
    limit = request_limit(request, engine.codec, engine.vocabulary_size)
    for reward in distinct_rewards([by]):
        room = reward.context_length - reward.extra_tokens
        if room <= len(request.prefix):
            raise InvalidPrompt(
                f"got a prompt of {len(request.prefix)} tokens, expected 1 to {room - 1}: the reward "
                f"{reward.name!r} ranks prompt and draft"
            )
        limit = min(limit, room - len(request.prefix))
    return replace(request, params=replace(request.params, max_new_tokens=limit))


def within_room(engine: Engine, judge: ReadsTokens, prompt: Prompt, request: Request) -> Request:
    """A request that ends where the context of the model, or of a judge that ranks its drafts, ends.

    Raises:
        InvalidPrompt: the judge has no room for a token behind the prompt; or as in `request_limit`.
        RewardMismatch: the judge reads the tokens of another tokenizer.
    """
    room = judge.room(engine.codec, prompt_text(prompt), request.prefix)
    if room < 1:
        raise InvalidPrompt(
            f"got a prompt of {len(request.prefix)} tokens, expected fewer: it fills the context of the judge that "
            "ranks prompt and draft"
        )
    limit = min(room, request_limit(request, engine.codec, engine.vocabulary_size))
    return replace(request, params=replace(request.params, max_new_tokens=limit))


def rank_drafts(
    engine: Engine,
    by: Ranking,
    prompts: Sequence[Prompt],
    prefixes: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[Generation]],
) -> list[RankedDrafts]:
    """Order the drafts of each prompt by whatever ranks. Arguments and errors as in the three functions below."""
    if isinstance(by, Steer):
        return rank(engine, by, prefixes, drafts)
    if isinstance(by, Ranker):
        return rank_by_texts(by, prompts, drafts)
    return rank_by_judge(engine, by, prompts, prefixes, drafts)


def rank(
    engine: Engine, by: Steer, prefixes: Sequence[Sequence[int]], drafts: Sequence[Sequence[Generation]]
) -> list[RankedDrafts]:
    """Order the drafts of each prompt by the reward of the whole text; all are scored in batches.

    Args:
        engine: computes the rewards.
        by: the rewards, each toward or away, with their weights.
        prefixes: the prompts' token ids.
        drafts: of each prompt; EOS and stop strings are not scored.

    Raises:
        InvalidPrompt: prompt and draft are longer than a reward's context.
    """
    pairs = [(prefix, draft) for prefix, of_prompt in zip(prefixes, drafts, strict=True) for draft in of_prompt]
    texts = [[*prefix, *draft.visible_ids] for prefix, draft in pairs]
    scores = reward_sums(engine, by, texts)
    parts = scores.split([len(of_prompt) for of_prompt in drafts])
    record = tuple(by.describe())
    return [_ranked(of_prompt, part, record) for of_prompt, part in zip(drafts, parts, strict=True)]


def rank_by_texts(
    ranker: Ranker, prompts: Sequence[Prompt], drafts: Sequence[Sequence[Generation]]
) -> list[RankedDrafts]:
    """Order the drafts of each prompt by a reward model that reads texts.

    Raises:
        InvalidPrompt: prompt and draft are longer than it reads.
        NonFiniteReward: a score is not finite.
    """
    record = (ranker.describe(),)
    return [
        _ranked(of_prompt, ranker.score(prompt, [draft.text for draft in of_prompt]), record)
        for prompt, of_prompt in zip(prompts, drafts, strict=True)
    ]


def rank_by_judge(
    engine: Engine,
    judge: Judge,
    prompts: Sequence[Prompt],
    prefixes: Sequence[Sequence[int]],
    drafts: Sequence[Sequence[Generation]],
) -> list[RankedDrafts]:
    """Order the drafts of each prompt by a judge, such as a `StepJudge`; all are scored in one call.

    Args:
        engine: the engine that wrote them, for judges that ask it.
        judge: its high scores are good.
        prompts, prefixes: the prompts, and their token ids.
        drafts: of each prompt; EOS and stop strings are not scored.

    Raises:
        InvalidData: a score is no number from 0 to 1.
    """
    judged = [
        Draft.of(prompt, prefix, draft.visible_ids, draft.text)
        for prompt, prefix, of_prompt in zip(prompts, prefixes, drafts, strict=True)
        for draft in of_prompt
    ]
    scores = torch.tensor(check_scores(judge.name, judge.score(judged, engine), len(judged)), dtype=torch.float64)
    parts = scores.split([len(of_prompt) for of_prompt in drafts])
    record: tuple[dict[str, object], ...] = (dict(description_of(judge)),)
    return [_ranked(of_prompt, part, record) for of_prompt, part in zip(drafts, parts, strict=True)]


def without_eos(ids: Sequence[int], codec: TextCodec) -> list[int]:
    """Token ids without an EOS at their end."""
    return list(ids[:-1] if ids and ids[-1] in codec.eos_token_ids else ids)


def _ranked(
    drafts: Sequence[Generation], scores: Float[Tensor, " drafts"], by: tuple[dict[str, object], ...]
) -> RankedDrafts:
    order = scores.argsort(descending=True, stable=True)
    return RankedDrafts(tuple(drafts[place] for place in order.tolist()), tuple(scores[order].tolist()), by)


def reward_sums(engine: Engine, by: Steer, texts: Sequence[Sequence[int]]) -> Float[Tensor, " texts"]:
    """Σ ±β · r of each text, in batches.

    Of a text of one token a reward without BOS knows nothing: it counts with the middle of its range.
    """
    batches = [texts[start : start + BATCH_TEXTS] for start in range(0, len(texts), BATCH_TEXTS)]
    return torch.cat([_scores(engine, by, batch) for batch in batches])


def _scores(engine: Engine, by: Steer, texts: Sequence[Sequence[int]]) -> Float[Tensor, " texts"]:
    total = torch.zeros(len(texts))
    for reward in distinct_rewards([by]):
        readable = [row for row, ids in enumerate(texts) if len(ids) + reward.extra_tokens >= 2]
        rewards = engine.rewards(reward, [texts[row] for row in readable]).cpu() if readable else None
        for term in (term for term in by.terms if term.reward is reward):
            of_texts = torch.full((len(texts),), sum(term.clamp or (0.0, 0.0)) / 2)
            if rewards is not None:
                of_texts[readable] = rewards[:, term.attribute]
            total = total + term.strength * of_texts
    return total
