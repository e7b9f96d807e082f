"""Methods: what writes the texts of a row. A new one is a name and a function from prompts to generations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import add
from typing import final

from trimtab.best_of import rank
from trimtab.engines.settings import Sampling
from trimtab.evaluation.prompts import Direction
from trimtab.evaluation.settings import SweepSettings
from trimtab.generation import Generation
from trimtab.lm import LanguageModel
from trimtab.rewards.model import RewardModel
from trimtab.rewind.judge import RewardJudge
from trimtab.rewind.settings import RewindSettings
from trimtab.steering.steer import Steer

Chosen = tuple[RewardModel, str | None]  # a reward and which of its attributes; None: the first
Watch = Callable[[Steer], Steer]
Write = Callable[[LanguageModel, Sequence[str]], list[list[Generation]]]  # [prompts][samples]


@final
@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: what the table and the plots call it; rows of one name are one curve.
        beta: the steering strength; None where there is none.
        about: what else decides its texts, for the record.
        write: continues some prompts, each `samples` times.
    """

    name: str
    beta: float | None
    write: Write
    about: Mapping[str, object] = field(default_factory=dict)


def unsteered(settings: SweepSettings) -> Method:
    """Plain sampling from the whole vocabulary."""
    return Method("unsteered", None, _sampled(None, settings, Sampling(None, None, settings.temperature)))


def truncated(settings: SweepSettings) -> Method:
    """β = 0: plain sampling from the same top k as the steered rows, which alone lowers perplexity."""
    return Method("top-k", 0.0, _sampled(None, settings, _truncated(settings)))


def greedy(settings: SweepSettings) -> Method:
    """The most likely token each time, the same in all samples: how bland text measures."""
    return Method("greedy", None, _sampled(None, settings, Sampling(temperature=0)))


def guided(
    name: str,
    rewards: Sequence[tuple[RewardModel, str | None]],
    beta: float,
    direction: Direction,
    s: SweepSettings,
    watch: Watch = lambda steer: steer,
) -> Method:
    """ARM or RAD, as the reward's head has it; of several rewards each has an equal part of β."""
    parts = [_push(reward, attribute, beta / len(rewards), direction) for reward, attribute in rewards]
    return Method(name, beta, _sampled(watch(reduce(add, parts)), s, _truncated(s)), about_rewards(rewards))


def best_of(
    n: int,
    name: str,
    reward: RewardModel,
    attribute: str | None,
    direction: Direction,
    s: SweepSettings,
    watch: Watch = lambda steer: steer,
) -> Method:
    """For every sample, n drafts of top-k sampling, of which the reward chooses one."""
    by = watch(_push(reward, attribute, 1.0, direction))
    draw = _sampled(None, s, _truncated(s), drafts=n)

    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        drafts = [of[first : first + n] for of in draw(lm, prompts) for first in range(0, len(of), n)]
        prefixes = [lm.frozen.encode(prompt) for prompt in prompts for _ in range(s.samples)]
        chosen = [ranked.drafts[0] for ranked in rank(lm.frozen, by, prefixes, drafts)]
        return [chosen[first : first + s.samples] for first in range(0, len(chosen), s.samples)]

    return Method(f"best of {n} by {name}", None, write, {"drafts": n, **about_rewards([(reward, attribute)])})


def rewound(
    judge: Chosen,
    alone: bool,
    steered_by: Sequence[Chosen],
    beta: float | None,
    direction: Direction,
    s: SweepSettings,
) -> Method:
    """RAIN, with the paper's settings: each sample a search that a reward judges, steered or not.

    Args:
        judge: the reward, and which of its attributes.
        alone: it reads the continuation without the prompt.
        steered_by: rewards that steer the search, each with an equal part of β.
        beta: their strength; None: the search is not steered.
        direction: of judge and rewards.
        s: what all rows share; the search has its own top k.
    """
    settings = RewindSettings(max_new_tokens=s.max_new_tokens, temperature=s.temperature)
    by = _push(*judge, 1.0, direction)
    parts = [_push(*each, beta / len(steered_by), direction) for each in steered_by] if beta else []

    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        every = [prompt for prompt in prompts for _ in range(s.samples)]
        seeds = [s.seed + sample for _ in prompts for sample in range(s.samples)]
        found = lm.rewind(every, RewardJudge(by, alone), reduce(add, parts) if parts else None, settings, seed=seeds)
        texts = [each.generation for each in found]
        return [texts[first : first + s.samples] for first in range(0, len(texts), s.samples)]

    about = {**about_rewards([judge, *(steered_by if beta else [])]), "search": {**asdict(settings), "alone": alone}}
    return Method(f"rewound by {name_of(judge)}", beta, write, about)


def name_of(chosen: Chosen) -> str:
    """A reward and its attribute, as typed."""
    reward, attribute = chosen
    return f"{reward.name}:{attribute}" if attribute else reward.name


def about_rewards(rewards: Sequence[tuple[RewardModel, str | None]]) -> dict[str, object]:
    """The rewards by name with a digest of each one's weights."""
    return {"rewards": [[r.name, a or r.attributes[0], r.card.head, r.fingerprint] for r, a in rewards]}


def _sampled(steer: Steer | None, settings: SweepSettings, sampling: Sampling, drafts: int = 1) -> Write:
    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        written = lm.generate(
            prompts,
            steer,
            n=settings.samples * drafts,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            temperature=sampling.temperature,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed,
        )
        return [of if isinstance(of, list) else [of] for of in written]

    return write


def _truncated(settings: SweepSettings) -> Sampling:
    return Sampling(settings.top_k, None, settings.temperature)


def _push(reward: RewardModel, attribute: str | None, beta: float, direction: Direction) -> Steer:
    return (reward.toward if direction == "up" else reward.away)(beta, attribute)
