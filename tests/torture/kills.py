"""Kill commands at random moments, run them again to the end, and compare the files with an undisturbed run's."""

import random
import tempfile
from pathlib import Path
from typing import Any

from torture.cli_cases import Result, show
from torture.client import Ended, Server, spread
from torture.long_commands import COMMANDS, copy_inputs, differences, outputs

SEED = 11
KILLS_BY_TIME, KILLS_WHILE_SAVING = 4, 6  # of each command
LIMIT = 180.0
NEVER = 10**9
ATTEMPTS = 4  # at killing a command, each in half the time
KILLED = ", died=True"  # at the end of the name of a kill that killed


def run_kills(world: Path, several: list[Server], only: str, each: tuple[int, int] | None = None) -> list[Result]:
    """Kill each command some times.

    Args:
        world: the folder with the inputs.
        several: the servers.
        only: part of the names of the commands to run.
        each: kills by time and kills while saving of each command; default: the constants.
    """
    with tempfile.TemporaryDirectory(prefix="torture-kills-") as place:
        chosen = [name for name in COMMANDS if only in name]
        expected = dict(
            zip(chosen, spread(several, lambda s, n: undisturbed(s, world, Path(place), n), chosen), strict=True)
        )
        plan = [(name, number, how) for name in chosen for number, how in enumerate(moments(expected[name][0], each))]
        return spread(
            several, lambda server, one: kill_once(server, world, Path(place), *one, expected[one[0]][1]), plan
        )


def undisturbed(server: Server, world: Path, place: Path, name: str) -> tuple[Ended, dict[str, str]]:
    """Run a command to its end; returns how it ended, and the hashes of its files."""
    folder = copy_inputs(world, place / name / "undisturbed")
    ended = server.run(folder, LIMIT, argv=list(COMMANDS[name]), kill_at=NEVER)
    if ended.code != 0:
        raise RuntimeError(f"{name} does not run: {ended.stderr[-300:]}")
    return ended, outputs(folder)


def moments(ended: Ended, each: tuple[int, int] | None) -> list[dict[str, Any]]:
    """When to kill: after some seconds, and just before some change of a file."""
    by_time, while_saving = each or (KILLS_BY_TIME, KILLS_WHILE_SAVING)
    draw = random.Random(SEED)
    times = [{"kill_after": round(draw.uniform(0.1, 0.95) * ended.seconds, 3)} for _ in range(by_time)]
    changes = range(1, (ended.changes or 1) + 1)
    return times + [{"kill_at": change} for change in sorted(draw.choices(changes, k=while_saving))]


def kill_once(
    server: Server, world: Path, place: Path, name: str, number: int, how: dict[str, Any], expected: dict[str, str]
) -> Result:
    """Kill a command once, run it again, and compare."""
    words = list(COMMANDS[name])
    for attempt in range(ATTEMPTS):
        folder = copy_inputs(world, place / name / f"{number}-{attempt}")
        killed = server.run(folder, LIMIT, argv=words, **how)
        if killed.code != 0 or "kill_after" not in how:
            break
        how = {"kill_after": how["kill_after"] / 2}  # it had ended before
    ended = server.run(folder, LIMIT, argv=words)
    faults: list[str] = []
    if killed.code not in (-9, 0):
        faults.append(f"exit status: {killed.code} before the kill: {killed.stderr[-200:]}")
    if ended.code != 0:
        faults.append(f"no resume: exit {ended.code}: {ended.stderr.strip()[-300:]}")
    elif different := differences(expected, outputs(folder)):
        faults.append(f"other files: {', '.join(different)[:400]}")
    moment = ", ".join(f"{key}={value}" for key, value in how.items())
    result = Result(
        f"{name}: {moment}{KILLED if killed.code == -9 else ', died=False'}", "kills", "resumes", ended, faults
    )
    show(result)
    return result
