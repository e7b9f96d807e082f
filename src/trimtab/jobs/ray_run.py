"""Continue the prompts of many files on the machines of a Ray cluster."""

import dataclasses
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path

from trimtab.cluster.ray_actors import RayActors
from trimtab.cluster.ray_cluster import check_address
from trimtab.cluster.ray_map import map_on_ray
from trimtab.errors import InvalidSetting
from trimtab.jobs.batch_writer import BatchWriter, batch_work, read_written
from trimtab.jobs.job import Job
from trimtab.jobs.shard_file import Batch, Written
from trimtab.jobs.sharded_run import run_shards
from trimtab.jobs.shards import find_shards, started
from trimtab.jobs.staging import staged
from trimtab.jobs.targets import drawn_seed
from trimtab.models.loading import load_codec


def run_on_ray(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    job: Job,
    address: str = "local",
    actors: RayActors | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
    replace: bool = False,
    draft: str | None = None,
    engine_options: Mapping[str, object] | None = None,
) -> list[str]:
    """Continue every prompt of many files with Ray Data; returns the faults of the lines that could not be used.

    The actors get batches and give rows back; this process alone reads and writes files. Rows of in/NAME.jsonl go to
    folder/NAME.jsonl. A batch whose actor or machine dies is written again elsewhere. An interrupted run resumes.

    Args:
        source: a folder with .jsonl or .jsonl.gz files, a pattern of such files, or one file; or the URL of one of
            these in an object store, such as s3://bucket/prompts.
        folder: receives the rows; or a URL.
        job: the settings; without a seed, that of an interrupted run or a new one. Each machine must find its model
            and its rewards by their names.
        address: of the cluster; see `check_address`. A process that is connected to Ray stays in its cluster.
        actors: how many engines work at once, and what each gets; None for the defaults.
        batch_size: prompts written together, and written again if their actor dies.
        progress: called with the prompts done and the prompts in all.
        replace: write all files again.
        draft: what drafts tokens with `speculate="draft"`.
        engine_options: of vLLM.

    Raises:
        InvalidSetting: Ray is not installed, nothing answers at the address, no machine has room for an actor, or the
            job ranks drafts.
        InvalidData, InvalidOutput: as in `find_shards`, `staged` and `run_shards`.
        TrimtabError: an actor cannot load the model or the rewards, or cannot write a text.
    """
    if job.ranking is not None:
        raise InvalidSetting("got a job with a ranking, expected none: best-of-n runs on this machine alone")
    check_address(address)
    with staged(Path(source), Path(folder), replace) as place:
        shards = find_shards(place.source, place.folder, replace)
        if job.sampling.seed is None:
            seed = drawn_seed(None if replace else started(shards))
            job = dataclasses.replace(job, sampling=dataclasses.replace(job.sampling, seed=seed))
        write = partial(
            write_batches,
            job=job,
            address=address,
            actors=actors or RayActors(),
            draft=draft,
            engine_options=engine_options,
        )
        codec = load_codec(job.model)
        return run_shards(shards, codec, job, write, batch_size, progress, replace, place.finished)


def write_batches(
    batches: Sequence[Batch],
    job: Job,
    address: str,
    actors: RayActors,
    draft: str | None = None,
    engine_options: Mapping[str, object] | None = None,
) -> Generator[Written, None, None]:
    """Continue batches on a cluster, and yield them as they are done. Arguments and errors as in `run_on_ray`."""
    work = [batch_work(batch) for batch in batches]
    for answer in map_on_ray(partial(BatchWriter, job, draft, engine_options), work, address, actors):
        yield read_written(answer)
