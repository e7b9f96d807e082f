"""Fill the disk under commands: they say so in one line, lose nothing, and end as if nothing had been when run again.

The disk is full in two ways: a limit of the size of a file (RLIMIT_FSIZE), and a small tmpfs in a mount namespace.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from torture.cli_cases import Result, show
from torture.client import Ended, Server, environment, spread
from torture.kills import LIMIT, SEED, undisturbed
from torture.long_commands import COMMANDS, INPUTS, copy_inputs, differences, outputs

SIZES = 3  # full disks of each command, in each way
SMALLEST = 1500  # bytes; what the command says must fit
FULL = re.compile(r"no space left|disk.{0,20}full|free (some )?space|file too large|quota", re.IGNORECASE)
TMPFS = 64 << 20
BALLAST = "ballast"
TMPFS_LABEL = "bytes left on a tmpfs"


def run_full_disks(world: Path, several: list[Server], only: str, sizes: int = SIZES) -> list[Result]:
    """Fill the disk under each command, in both ways."""
    chosen = [name for name in COMMANDS if only in name]
    with tempfile.TemporaryDirectory(prefix="torture-disk-") as place:
        limited = spread(several, lambda s, name: limit_files(s, world, Path(place), name, sizes), chosen)
        results = [each for of in limited for each in of] + run_small_tmpfs(world, Path(place), chosen, sizes)
    for result in results:
        show(result)
    return results


def limit_files(server: Server, world: Path, place: Path, name: str, sizes: int) -> list[Result]:
    """Run a command with limits of the size of a file."""
    _, expected = undisturbed(server, world, place, name)
    biggest = max(path.stat().st_size for path in written(place / name / "undisturbed"))
    draw, results = random.Random(SEED), []
    for number in range(sizes):
        size = draw.randint(SMALLEST, max(SMALLEST + 1, biggest))
        folder = copy_inputs(world, place / name / f"limited-{number}")
        stopped = server.run(folder, LIMIT, argv=list(COMMANDS[name]), file_size=size)
        ended = server.run(folder, LIMIT, argv=list(COMMANDS[name]))
        results.append(judge(f"{name}: files of at most {size} bytes", stopped, ended, expected, folder))
    return results


def judge(label: str, stopped: Ended, ended: Ended, expected: dict[str, str], folder: Path) -> Result:
    """The faults of a run on a full disk, and of the run after it."""
    faults = []
    if stopped.code == 0 and stopped.stderr.count("\n") > 20:
        faults.append("chatter: over 20 lines")
    if stopped.code != 0:
        message = stopped.stderr[stopped.stderr.find("trimtab: ") :].strip()
        if "Traceback" in stopped.stderr or stopped.code < 0:
            faults.append(f"traceback: exit {stopped.code}: {stopped.stderr.strip()[-300:]}")
        elif "\n" in message or not FULL.search(message):
            faults.append(f"unclear message: {message[:300]}")
    if ended.code != 0:
        faults.append(f"no resume: exit {ended.code}: {ended.stderr.strip()[-300:]}")
    elif different := differences(expected, outputs(folder)):
        faults.append(f"other files: {', '.join(different)[:400]}")
    return Result(f"{label}, stopped={stopped.code != 0}", "disk", "resumes", ended, faults)


def run_small_tmpfs(world: Path, place: Path, chosen: list[str], sizes: int) -> list[Result]:
    """Run this file in a namespace in which `place/tmpfs` is a small disk; nothing where that is not allowed."""
    disk = place / "tmpfs"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={TMPFS} none {disk} && exec "$@"'
    command = ["unshare", "-Urm", "sh", "-c", mount, "sh", sys.executable, "-m", "torture.full_disk"]
    words = [str(world), str(disk), str(sizes), *chosen]
    done = subprocess.run([*command, *words], env=environment(), capture_output=True, text=True, check=False)
    if "unshare" in done.stderr and not done.stdout:
        print(f"skipped the small tmpfs: {done.stderr.strip()}", file=sys.stderr)
        return []
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-800:])
    rows = json.loads(done.stdout.splitlines()[-1])
    return [Result(row["name"], row["table"], row["why"], Ended(**row["ended"]), row["faults"]) for row in rows]


def fill_tmpfs(world: Path, disk: Path, sizes: int, chosen: list[str]) -> list[Result]:
    """Run each command on a disk with little space, then with enough."""
    server, results = Server(), []
    for name in chosen:
        _, expected = undisturbed(server, world, disk, name)
        used = sum(path.stat().st_size for path in written(disk / name / "undisturbed"))
        draw = random.Random(SEED)
        for number in range(sizes):
            folder = copy_inputs(world, disk / name / str(number))
            free = draw.randint(0, used)
            leave(disk, free)
            stopped = server.run(folder, LIMIT, argv=list(COMMANDS[name]))
            (disk / BALLAST).unlink()
            ended = server.run(folder, LIMIT, argv=list(COMMANDS[name]))
            results.append(judge(f"{name}: {free} {TMPFS_LABEL}", stopped, ended, expected, folder))
    server.close()
    return results


def written(folder: Path) -> list[Path]:
    """The files that a command wrote."""
    return [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in INPUTS]


def leave(disk: Path, free: int) -> None:
    """Fill the disk until only some bytes are free."""
    facts = os.statvfs(disk)
    with (disk / BALLAST).open("wb") as file:
        file.write(b"\0" * max(0, facts.f_bavail * facts.f_bsize - free))


if __name__ == "__main__":
    found = fill_tmpfs(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
    print(json.dumps([asdict(each) for each in found]))
