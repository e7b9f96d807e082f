"""Methods that write the texts of a row. A new method is a name and a function from prompts to generations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from typing import final

from trimtab.best_of import rank
from trimtab.engines.sampling_params import SamplingParams
from trimtab.evaluation.run.prompt_sets import Direction
from trimtab.evaluation.run.sweep_settings import SweepSettings
from trimtab.generation import Generation
from trimtab.judges.reward_judge import RewardJudge
from trimtab.language_model import LanguageModel
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.steering.steer import Steer

Chosen = tuple[RewardModel, str | None]  # a reward and one of its attributes; None for the first
Timing = Callable[[Steer], Steer]
Write = Callable[[LanguageModel, Sequence[str]], list[list[Generation]]]  # [prompts][samples]


@final
@dataclass(frozen=True)
class Method:
    """A method of a comparison.

    Attributes:
        name: its name in tables and plots; rows of one name are one curve.
        beta: the steering strength; None if the method has none.
        about: further settings that decide its texts, for the record.
        write: continues some prompts, each `samples` times.
    """

    name: str
    beta: float | None
    write: Write
    about: Mapping[str, object] = field(default_factory=dict)


def unsteered(settings: SweepSettings) -> Method:
    """Plain sampling from the whole vocabulary."""
    params = SamplingParams(top_k=None, temperature=settings.temperature)
    return Method("unsteered", None, _sampled(None, settings, params))


def truncated(settings: SweepSettings) -> Method:
    """β = 0: plain sampling from the same top k as the steered rows. Truncation alone lowers perplexity."""
    return Method("top-k", 0.0, _sampled(None, settings, _truncated(settings)))


def greedy(settings: SweepSettings) -> Method:
    """The most likely token at each step, the same in all samples: shows how a judge scores bland text."""
    return Method("greedy", None, _sampled(None, settings, SamplingParams(temperature=0)))


def guided(
    name: str,
    rewards: Sequence[Chosen],
    beta: float,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = lambda steer: steer,
) -> Method:
    """Steering by rewards; several rewards share β equally."""
    parts = [_steer(reward, attribute, beta / len(rewards), direction) for reward, attribute in rewards]
    return Method(name, beta, _sampled(timing(reduce(add, parts)), s, _truncated(s)), about_rewards(rewards))


def best_of(
    n: int,
    name: str,
    reward: RewardModel,
    attribute: str | None,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = lambda steer: steer,
) -> Method:
    """Best-of-n: for every sample, n drafts of top-k sampling, of which the reward chooses one."""
    by = timing(_steer(reward, attribute, 1.0, direction))
    draw = _sampled(None, s, _truncated(s), drafts=n)

    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        drafts = [of[first : first + n] for of in draw(lm, prompts) for first in range(0, len(of), n)]
        prefixes = [lm.engine.codec.encode_prompt(prompt) for prompt in prompts for _ in range(s.samples)]
        chosen = [ranked.drafts[0] for ranked in rank(lm.engine, by, prefixes, drafts)]
        return [chosen[first : first + s.samples] for first in range(0, len(chosen), s.samples)]

    return Method(f"best of {n} by {name}", None, write, {"drafts": n, **about_rewards([(reward, attribute)])})


def rewind(
    judge: Chosen,
    alone: bool,
    steered_by: Sequence[Chosen],
    beta: float | None,
    direction: Direction,
    s: SweepSettings,
) -> Method:
    """RAIN with the paper's settings: each sample is a search that a reward judges, steered or not.

    Args:
        judge: the reward that judges, and one of its attributes.
        alone: show the judge the continuation without its prompt.
        steered_by: rewards that steer the search; they share β equally.
        beta: their strength; None for an unsteered search.
        direction: the direction of the judge and the rewards.
        s: the settings of all rows; the search has its own top k.
    """
    settings = RewindSettings(max_new_tokens=s.max_new_tokens, temperature=s.temperature)
    by = _steer(*judge, 1.0, direction)
    parts = [_steer(*each, beta / len(steered_by), direction) for each in steered_by] if beta else []

    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        every = [prompt for prompt in prompts for _ in range(s.samples)]
        seeds = [s.seed + sample for _ in prompts for sample in range(s.samples)]
        found = lm.rewind(every, RewardJudge(by, alone), reduce(add, parts) if parts else None, settings, seed=seeds)
        texts = [each.generation for each in found]
        return [texts[first : first + s.samples] for first in range(0, len(texts), s.samples)]

    about = {**about_rewards([judge, *(steered_by if beta else [])]), "search": {**asdict(settings), "alone": alone}}
    return Method(f"rewound by {name_of(judge)}", beta, write, about)


def name_of(chosen: Chosen) -> str:
    """NAME or NAME:ATTRIBUTE of a reward."""
    reward, attribute = chosen
    return f"{reward.name}:{attribute}" if attribute else reward.name


def about_rewards(rewards: Sequence[Chosen]) -> dict[str, object]:
    """The record of some rewards: name, attribute, head, and a hash of the weights of each."""
    return {"rewards": [[r.name, a or r.attributes[0], r.card.head, r.fingerprint] for r, a in rewards]}


def _sampled(steer: Steer | None, settings: SweepSettings, params: SamplingParams, drafts: int = 1) -> Write:
    """A function that writes `drafts` texts for every sample."""
    whole = replace(params, n=settings.samples * drafts, max_new_tokens=settings.max_new_tokens, seed=settings.seed)

    def write(lm: LanguageModel, prompts: Sequence[str]) -> list[list[Generation]]:
        return [list(of_prompt.samples) for of_prompt in lm.generate(prompts, steer, whole)]

    return write


def _truncated(settings: SweepSettings) -> SamplingParams:
    return SamplingParams(top_k=settings.top_k, temperature=settings.temperature)


def _steer(reward: RewardModel, attribute: str | None, beta: float, direction: Direction) -> Steer:
    return (reward.toward if direction == "up" else reward.away)(beta, attribute)
