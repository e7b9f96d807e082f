"""What ranks the drafts of `trimtab generate --best-of`: checked by its name, then loaded."""

from typing import TYPE_CHECKING

from trimtab.best_of_settings import BestOfSettings
from trimtab.cli.console import loading
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.engines.sampling_params import SamplingParams
    from trimtab.jobs import Job
    from trimtab.judges.base import Judge
    from trimtab.models.codec import TokenizerCodec
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.steering.steer import Steer


def check_ranking(
    ranking: BestOfSettings, sampling: "SamplingParams", codec: "TokenizerCodec", retokenize: bool
) -> None:
    """Check what ranks drafts by its name, its files and its card, before the language model loads.

    Raises:
        InvalidSetting: there is no such ranking, or it cannot do what the options ask.
        RewardNotFound, RewardMismatch, UnknownAttribute, CorruptReward: of a reward.
    """
    from trimtab.judges.notation import early_judge, parse_judge, ranks_by_reward
    from trimtab.judges.unit_tests import UnitTests
    from trimtab.rewards.any_reward import check_scores_whole_card
    from trimtab.rewards.registry import cards_of

    text = ranking.by
    if text is None:
        return
    with loading(f"what ranks: {text}"):
        early = early_judge(text, codec, retokenize=retokenize)
    if ranks_by_reward(text, early):
        typed = parse_judge(text)
        (card,) = cards_of([f"{typed.name}={typed.sign}"], None, codec, retokenize)
        check_scores_whole_card(typed.name, card)
    elif ranking.looks_at_prefixes:
        raise InvalidSetting(
            f"got the judge {text!r} with --block, --halve-every or --accept-at, expected --by a reward, as in "
            "toxicity=-1, which judges unfinished texts"
        )
    if ranking.repairs and not isinstance(early, UnitTests):
        raise InvalidSetting(f"got --repairs {ranking.repairs}, expected --by tests:FILE with it")
    if ranking.repairs and sampling.temperature == 0:
        raise InvalidSetting("got --repairs with --temperature 0, expected above 0: a greedy text repeats its error")


def load_ranking(job: "Job", base: "FrozenLM | None") -> "Steer | Judge | None":
    """Load what ranks the drafts of a job; None if it ranks none. Errors as in `check_ranking`."""
    from trimtab.judges.notation import early_judge, ranking_from_text
    from trimtab.models.loading import load_codec

    if job.ranking is None or job.ranking.by is None:
        return None
    early = early_judge(job.ranking.by, load_codec(job.model), retokenize=job.retokenize)
    return ranking_from_text(job.ranking.by, early, base, job.retokenize)
