"""The Ray cluster that a job runs on: started here, or joined."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from trimtab.checking import shown
from trimtab.cluster.ray_actors import RayActors
from trimtab.errors import InvalidSetting

PATIENCE = 10.0  # seconds to reach an address; Ray alone tries for two minutes, and then ends the process


def check_address(address: str) -> None:
    """Refuse a cluster that cannot be reached, before anything heavy is imported.

    Args:
        address: "local" starts Ray on this machine, for this job alone; "auto" is the cluster to which this machine
            belongs; HOST:PORT is the cluster of that head.

    Raises:
        InvalidSetting: Ray is not installed, or nothing answers there.
    """
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise InvalidSetting("got --ray without the package ray, expected it: pip install 'trimtab[ray]'")
    if address in ("local", "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise InvalidSetting(f"got --ray {shown(address)}, expected local, auto or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InvalidSetting(
            f"got --ray {shown(address)}, expected the address of a Ray cluster; nothing answers there ({error})"
        ) from error


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect this process to a cluster, unless it is connected already, and disconnect it at the end.

    Raises:
        InvalidSetting: as in `check_address`, or "auto" and this machine belongs to no cluster.
    """
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read where a cluster is started
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is an exception, too
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        _connect(address)
    try:
        with _quiet_data():
            yield
    finally:
        if is_ours:
            ray.shutdown()


def _connect(address: str) -> None:
    import ray

    own = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except ConnectionError as error:
        raise InvalidSetting(f"got --ray {shown(address)}, expected a Ray cluster that runs: ray start") from error


@contextmanager
def _quiet_data() -> Iterator[None]:
    """Keep the progress bars and the messages of Ray Data off the terminal."""
    from ray.data import DataContext

    context, log = DataContext.get_current(), logging.getLogger("ray.data")
    bars, level = context.enable_progress_bars, log.level
    context.enable_progress_bars = False
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        log.setLevel(level)


def actor_count(actors: RayActors) -> int:
    """How many actors are asked for: one for each machine unless a number is.

    Raises:
        InvalidSetting: no machine of the cluster has room for one actor.
    """
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": actors.actor_cpus, "GPU": actors.actor_gpus}
    if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
        raise InvalidSetting(
            f"got --actor-cpus {actors.actor_cpus} and --actor-gpus {actors.actor_gpus:g}, expected no more than one "
            "machine of the cluster has"
        )
    return actors.actors or len(machines)
