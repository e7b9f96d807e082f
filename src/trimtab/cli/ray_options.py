"""The options of Ray, and a run over many files on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cluster.ray_actors import RayActors
from trimtab.data.object_store import url_of
from trimtab.data.visible import count_of
from trimtab.errors import InvalidData, InvalidSetting

if TYPE_CHECKING:
    from trimtab.jobs import Job

RAY = "Ray"
ONE_FOR_EACH_MACHINE = RayActors()
CLUSTER = "one that starts here for this run, the one that this machine belongs to, or that of an address."
PLACES = "local|auto|HOST:PORT"
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar=PLACES,
        help="Continue the files of --input, a folder, a quoted pattern or a URL such as s3://bucket/prompts, on a Ray "
        f"cluster, into the folder or URL --output: {CLUSTER}",
        rich_help_panel=RAY,
    ),
]
RayOfSweep = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar=PLACES,
        help=f"Write the texts on a Ray cluster: {CLUSTER} This process writes the files, and times the methods.",
        rich_help_panel=RAY,
    ),
]


def check_ray(
    address: str | None, actors: RayActors, prompts: list[str] | None, source: Path | None, target: Path | None
) -> None:
    """Refuse options that do not go with --ray, or not without it, before anything heavy is imported.

    Raises:
        InvalidSetting: naming the option; or Ray is not installed, or nothing answers at the address.
    """
    if address is not None and prompts:
        raise InvalidSetting("got prompts with --ray, expected --input and --output alone; quote a pattern of files")
    if address is not None and (source is None or target is None):
        raise InvalidSetting("got --ray, expected with it --input, a folder or a pattern of files, and --output")
    check_cluster(address, actors)


def check_cluster(address: str | None, actors: RayActors) -> None:
    """Refuse actors without --ray, and a cluster that cannot be reached.

    Raises:
        InvalidSetting: naming the option; or Ray is not installed, or nothing answers at the address.
    """
    if address is None:
        if actors != ONE_FOR_EACH_MACHINE:
            raise InvalidSetting("got --actors, --actor-cpus or --actor-gpus, expected --ray with them")
        return
    from trimtab.cluster.ray_cluster import check_address

    check_address(address)


def check_shards(source: Path, target: Path, batch_size: int, force: bool) -> None:
    """Refuse files that cannot be continued. Errors as in `check_sources`."""
    from trimtab.jobs.shards import find_shards
    from trimtab.jobs.staging import check_urls

    if batch_size < 1:
        raise InvalidSetting(f"got --batch-size {batch_size}, expected at least 1")
    if not check_urls(source, target):
        find_shards(source, target, force)


def generate_on_ray(
    source: Path,
    target: Path,
    job: "Job",
    address: str,
    actors: RayActors,
    batch_size: int,
    draft: str | None,
    force: bool,
) -> None:
    """Continue the files of a folder or a pattern. Bad lines are named at the end and make the exit status 1."""
    from trimtab.cli.console import error_console, first_faults
    from trimtab.cli.progress import counting
    from trimtab.jobs import run_on_ray

    with counting("prompts", error_console()) as progress:
        faults = run_on_ray(source, target, job, address, actors, batch_size, progress, force, draft)
    if faults:
        named = first_faults(faults)
        skipped, out = count_of(len(faults), "line"), url_of(target) or target
        raise InvalidData(f"{url_of(source) or source}: {skipped} skipped, all others are in {out}: {named}")
