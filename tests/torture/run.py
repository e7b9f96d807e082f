"""Run the parts of the torture, write build/torture.json, and print what is wrong. Exit status 1 if anything is."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torture.calls import run_calls
from torture.cli_cases import Result, all_cases, prepare_world, run_cases
from torture.client import Server, servers
from torture.full_disk import run_full_disks
from torture.kills import run_kills
from torture.report import print_report, write_report

REPORT = Path("build/torture.json")
Part = Callable[[Path, list[Server], str], list[Result]]


def run_cli(world: Path, several: list[Server], only: str) -> list[Result]:
    """Run the malformed command lines."""
    return run_cases([(table, case) for table, case in all_cases() if only in f"{table} {case.name}"], world, several)


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
    sys.exit(any(each.faults for of in results.values() for each in of))


if __name__ == "__main__":
    main()
