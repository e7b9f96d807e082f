"""Methods that write the texts of a row. A new method is a name and a function from prompts to generations."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, final

from trimtab.best_of import rank
from trimtab.engines.sampling_params import DEFAULT_TOP_K, SamplingParams
from trimtab.errors import NonFiniteReward
from trimtab.evaluation.run.prompt_sets import Direction
from trimtab.evaluation.run.row_file import CARDS, REWARDS
from trimtab.evaluation.run.search_settings import PAPER_SEARCH, SearchSettings
from trimtab.evaluation.run.sweep_settings import SweepSettings
from trimtab.evaluation.run.times_file import time_name
from trimtab.generation import Generation
from trimtab.judges.reward_judge import RewardJudge
from trimtab.language_model import LanguageModel
from trimtab.models.codec import Prompt
from trimtab.rewards.any_reward import AnyReward, check_scores_whole_texts, kind_of
from trimtab.steering.steer import Steer

UNCLAMPED = (-1e6, 1e6)
Chosen = tuple[AnyReward, str | None]  # a reward and one of its attributes; None for the first
GREEDY = "greedy"  # the last word of the names of greedy methods
Timing = Callable[[Steer], Steer]
Write = Callable[[LanguageModel, Sequence[Prompt]], list[list[Generation]]]  # [prompts][samples]


def untimed(steer: Steer) -> Steer:
    """The steer as it is."""
    return steer


@final
@dataclass(frozen=True)
class Method:
    """A method of a comparison.

    Attributes:
        name: its name in tables and plots; rows of one name are one curve.
        beta: the steering strength; None if the method has none.
        about: further settings that decide its texts, for the record.
        write: continues some prompts, each `samples` times.
        params: how it samples, for the record; None for a search, whose settings are in `about`.
        steered_by, ranked_by, judged_by: the rewards, their directions and β, for the record.
    """

    name: str
    beta: float | None
    write: Write
    about: Mapping[str, object] = field(default_factory=dict)
    params: SamplingParams | None = None
    steered_by: Steer | None = None
    ranked_by: Steer | None = None
    judged_by: Steer | None = None

    @property
    def searches(self) -> bool:
        """Whether it searches, which takes far more time than sampling."""
        return self.judged_by is not None

    @property
    def time_name(self) -> str:
        """The name of its time."""
        return time_name(self.name, self.searches, self.beta)

    def record(self) -> dict[str, object]:
        """The rewards that rank or judge, for the record of what made the texts."""
        roles = {"ranked_by": self.ranked_by, "judged_by": self.judged_by}
        return {role: steer.describe() for role, steer in roles.items() if steer is not None}


def unsteered(settings: SweepSettings) -> Method:
    """Plain sampling from the whole vocabulary."""
    return _sampling("unsteered", None, settings, params_of(settings, top_k=None))


def truncated(settings: SweepSettings) -> Method:
    """β = 0: plain sampling from the same top k as the steered rows. Truncation alone lowers perplexity."""
    return _sampling("top-k", 0.0, settings, params_of(settings))


def greedy(settings: SweepSettings) -> Method:
    """The most likely token at each step, the same in all samples: shows how a judge scores bland text."""
    return _sampling(GREEDY, None, settings, params_of(settings, top_k=DEFAULT_TOP_K, temperature=0.0))


def guided(
    name: str,
    rewards: Sequence[Chosen],
    beta: float,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = untimed,
    max_kl: float | None = None,
) -> Method:
    """Steering by rewards; several rewards share β equally. With a budget `max_kl`, its name says so."""
    parts = [steer_of(reward, attribute, beta / len(rewards), direction) for reward, attribute in rewards]
    about = about_rewards(rewards)
    if max_kl is not None:
        name, about = f"{name} max_kl {max_kl:g}", about | {"max_kl": max_kl}
    return _sampling(name, beta, s, params_of(s, max_kl=max_kl), timing(reduce(add, parts)), about)


def greedily_guided(
    name: str,
    rewards: Sequence[Chosen],
    weight: float,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = untimed,
) -> Method:
    """ARGS (2402.01694): the argmax of log p + w · r over the top k, without a clamp; the same in all samples."""
    parts = [steer_of(reward, attribute, weight / len(rewards), direction) for reward, attribute in rewards]
    terms = [replace(term, clamp=UNCLAMPED) for part in parts for term in part.terms]
    params = params_of(s, temperature=0.0)
    return _sampling(f"{name} {GREEDY}", weight, s, params, timing(Steer(tuple(terms))), about_rewards(rewards))


def best_of(
    n: int,
    name: str,
    reward: AnyReward,
    attribute: str | None,
    direction: Direction,
    s: SweepSettings,
    timing: Timing = untimed,
) -> Method:
    """Best-of-n: for every sample, n drafts of top-k sampling, of which the reward chooses one."""
    check_scores_whole_texts(reward)
    by = timing(steer_of(reward, attribute, 1.0, direction))
    params = params_of(s, drafts=n)
    draw = _sampled(None, params)

    def write(lm: LanguageModel, prompts: Sequence[Prompt]) -> list[list[Generation]]:
        drafts = [of[first : first + n] for of in draw(lm, prompts) for first in range(0, len(of), n)]
        prefixes = [lm.engine.codec.encode_prompt(prompt) for prompt in prompts for _ in range(s.samples)]
        ranks = rank(lm.engine, by, prefixes, drafts)
        if not all(math.isfinite(score) for ranked in ranks for score in ranked.scores):
            raise NonFiniteReward(f"got a score of the reward {name!r} that is not finite; fetch or train it again")
        chosen = [ranked.drafts[0] for ranked in ranks]
        return [chosen[first : first + s.samples] for first in range(0, len(chosen), s.samples)]

    about = {"drafts": n, **about_rewards([(reward, attribute)])}
    return Method(f"best of {n} by {name}", None, write, about, params, ranked_by=by)


def rewind(
    judge: Chosen,
    alone: bool,
    steered_by: Sequence[Chosen],
    beta: float | None,
    direction: Direction,
    s: SweepSettings,
    search: SearchSettings = PAPER_SEARCH,
    timing: Timing = untimed,
) -> Method:
    """RAIN: each sample is a search that a reward judges, steered or not.

    Args:
        judge: the reward that judges, and one of its attributes.
        alone: show the judge the continuation without its prompt.
        steered_by: rewards that steer the search; they share β equally.
        beta: their strength; None for an unsteered search.
        direction: the direction of the judge and the rewards.
        s: the settings of all rows.
        search: the settings of the search; default: the paper's.
        timing: times the rewards that judge and steer.
    """
    settings = search.settings(s.max_new_tokens, s.temperature)
    by = timing(steer_of(*judge, 1.0, direction))
    parts = [steer_of(*each, beta / len(steered_by), direction) for each in steered_by] if beta else []
    steer = timing(reduce(add, parts)) if parts else None

    def write(lm: LanguageModel, prompts: Sequence[Prompt]) -> list[list[Generation]]:
        every = [prompt for prompt in prompts for _ in range(s.samples)]
        seeds = [s.seed + sample for _ in prompts for sample in range(s.samples)]
        found = lm.rewind(every, RewardJudge(by, alone), steer, settings, seed=seeds)
        texts = [each.generation for each in found]
        return [texts[first : first + s.samples] for first in range(0, len(texts), s.samples)]

    chosen = {name: value for name, value in asdict(settings).items() if value is not None}
    about = {**about_rewards([judge, *(steered_by if beta else [])]), "search": {**chosen, "alone": alone}}
    return Method(f"rewound by {name_of(judge)}", beta, write, about, steered_by=steer, judged_by=by)


def params_of(s: SweepSettings, drafts: int = 1, **changes: Any) -> SamplingParams:
    """How all methods sample: `drafts` texts for every sample, from the top k unless `changes` say otherwise."""
    shared = SamplingParams(
        n=s.samples * drafts,
        max_new_tokens=s.max_new_tokens,
        seed=s.seed,
        top_k=s.top_k,
        temperature=s.temperature,
    )
    return replace(shared, **changes)


def steer_of(reward: AnyReward, attribute: str | None, beta: float, direction: Direction) -> Steer:
    """Steering by one attribute of a reward, in a direction."""
    return (reward.toward if direction == "up" else reward.away)(beta, attribute)


def name_of(chosen: Chosen) -> str:
    """NAME or NAME:ATTRIBUTE of a reward."""
    reward, attribute = chosen
    return f"{reward.name}:{attribute}" if attribute else reward.name


def about_rewards(rewards: Sequence[Chosen]) -> dict[str, object]:
    """The record of some rewards: name, attribute, head and a hash of the weights of each; hashes of their cards."""
    return {
        REWARDS: [[r.name, a or r.attributes[0], kind_of(r), r.fingerprint] for r, a in rewards],
        CARDS: [r.describe().get("card_fingerprint") for r, _ in rewards],
    }


def _sampling(
    name: str,
    beta: float | None,
    settings: SweepSettings,
    params: SamplingParams,
    steer: Steer | None = None,
    about: Mapping[str, object] | None = None,
) -> Method:
    return Method(name, beta, _sampled(steer, params), about or {}, params, steered_by=steer)


def _sampled(steer: Steer | None, params: SamplingParams) -> Write:
    def write(lm: LanguageModel, prompts: Sequence[Prompt]) -> list[list[Generation]]:
        return [list(of_prompt.samples) for of_prompt in lm.generate(prompts, steer, params)]

    return write
