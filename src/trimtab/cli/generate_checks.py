"""Checks of `trimtab generate`'s options, before anything heavy is imported."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trimtab.best_of_settings import BestOfSettings
from trimtab.cli.options import check_drafts
from trimtab.cli.prompt_file import check_sources
from trimtab.cli.ray_options import check_ray, check_shards
from trimtab.cluster.ray_actors import RayActors
from trimtab.engines.engine_names import EngineName, check_engine
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidSetting
from trimtab.rewards.heads import head_of_method
from trimtab.steering.notation import parse_steer


class Shown(NamedTuple):
    """What is printed of each text."""

    as_json: bool
    rewards: bool
    trace: bool


def check_outputs(
    prompts: list[str] | None,
    steer: Sequence[str],
    sampling: SamplingParams,
    ranking: BestOfSettings,
    file: bool,
    stream: bool,
    shown: Shown,
) -> None:
    """Refuse output options that exclude each other, or that have nothing to show.

    Raises:
        InvalidSetting: naming the options.
    """
    if shown.rewards and (file or shown.as_json):
        raise InvalidSetting("got --show-rewards, expected with it no --json or --input: their rows have the rewards")
    if shown.as_json and file:
        raise InvalidSetting("got --json with --input, expected one of them: --output has JSON lines")
    if stream and (file or any(shown) or sampling.n != 1 or len(prompts or []) != 1):
        raise InvalidSetting(
            "got --stream, expected with it one prompt, one sample, and no --json, --show-rewards, --trace or --input"
        )
    if stream and ranking.best_of is not None:
        raise InvalidSetting("got --stream with --best-of, expected one of them: drafts are ranked when they end")
    if steer and sampling.top_k == 1:
        raise InvalidSetting(
            "got --top-k 1 with --steer, expected 2 or more: of one candidate, no steer can choose another"
        )
    ranking.check_samples(sampling)
    if shown.rewards and not steer:
        raise InvalidSetting("got --show-rewards without --steer, expected a reward to show")
    if sampling.max_kl is not None and not steer:
        raise InvalidSetting("got --max-kl without --steer, expected a steer to hold to the budget")


def check_writers(
    steer: Sequence[str],
    method: str | None,
    engine: EngineName,
    batch_invariant: bool,
    sampling: SamplingParams,
    draft: str | None,
) -> None:
    """Refuse an engine, drafts, a method or a steer that there is not.

    Raises:
        InvalidSetting: naming it.
    """
    check_engine(engine, batch_invariant, sampling.speculate)
    check_drafts([] if sampling.speculate is None else [sampling.speculate], draft)
    if method is not None:
        head_of_method(method)
        if not steer:
            raise InvalidSetting("got --method without --steer, expected a reward of that method")
    for text in steer:
        parse_steer(text)


def check_places(
    prompts: list[str] | None,
    source: Path | None,
    target: Path | None,
    batch_size: int,
    force: bool,
    ray: str | None,
    actors: RayActors,
    ranking: BestOfSettings,
) -> None:
    """Refuse prompts and files that cannot be continued, here or on a Ray cluster. Errors as in `check_sources`."""
    check_ray(ray, actors, prompts, source, target)
    if ray is None or source is None or target is None:
        check_sources(prompts, source, target, batch_size, force)
        return
    if ranking.best_of is not None:
        raise InvalidSetting("got --best-of with --ray, expected one of them: actors do not rank drafts")
    check_shards(source, target, batch_size, force)
