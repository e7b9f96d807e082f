"""Run the parts of the torture, write build/torture.json, and print what is wrong. Exit status 1 if anything is."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torture.calls import run_calls
from torture.cli_cases import Result, all_cases, prepare_world, run_cases
from torture.client import Server, servers
from torture.full_disk import TMPFS_LABEL, run_full_disks
from torture.kills import KILLED, run_kills
from torture.report import print_report, write_report

REPORT = Path("build/torture.json")
Part = Callable[[Path, list[Server], str], list[Result]]


def run_cli(world: Path, several: list[Server], only: str) -> list[Result]:
    """Run the malformed command lines."""
    return run_cases([(table, case) for table, case in all_cases() if only in f"{table} {case.name}"], world, several)


LEAST = {"cli": 300, "calls": 200, "kills": 40, "disk": 1}  # cases; kills that killed
PARTS: dict[str, Part] = {"cli": run_cli, "calls": run_calls, "kills": run_kills, "disk": run_full_disks}


def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--only", default="", help="run the cases whose name holds this text")
    parser.add_argument("--servers", type=int, default=2, help="processes that run cases")
    parser.add_argument("--report", type=Path, default=REPORT, help="the JSON file")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"got {unknown}, expected some of: {', '.join(PARTS)}")
    results = {}
    with tempfile.TemporaryDirectory(prefix="torture-world-") as place, servers(given.servers) as several:
        world = prepare_world(Path(place), several[0])
        for name in given.parts or PARTS:
            start = time.perf_counter()
            results[name] = PARTS[name](world, several, given.only)
            print(f"{name}: {len(results[name])} cases in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    write_report(given.report, results)
    print_report(results)
    missing = [] if given.only else [fault for name, of in results.items() if (fault := too_few(name, of))]
    for fault in [*missing, *skipped(results)]:
        print(fault, file=sys.stderr)
    sys.exit(bool(missing) or any(each.faults for of in results.values() for each in of))


def too_few(part: str, results: Sequence[Result]) -> str:
    """What a part lacks, if it ran too little to say anything; empty if it did not."""
    ran = [each for each in results if part != "kills" or each.name.endswith(KILLED)]
    what = "kills that killed" if part == "kills" else "cases"
    return f"{part}: {len(ran)} {what}, expected at least {LEAST[part]}" if len(ran) < LEAST[part] else ""


def skipped(parts: Mapping[str, Sequence[Result]]) -> list[str]:
    """The checks that this machine does not allow."""
    disk = parts.get("disk")
    small = disk is None or any(TMPFS_LABEL in each.name for each in disk)
    return [] if small else ["disk: the small tmpfs was skipped, because this machine allows no mount namespace"]


if __name__ == "__main__":
    main()
