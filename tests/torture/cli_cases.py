"""Run the malformed command lines."""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from torture.case import Case
from torture.client import Ended, Server, run_alone, spread
from torture.edited_rows import build_edited_rows
from torture.tables import adapt, bench, edited, evaluate, experts, generate, rewards, rewind, serve, top, train
from torture.tables.values import EVALUATE, GENERATE_FILE
from torture.verdict import faults_of, late_faults, snapshot
from torture.world import build_world, copy_world, remove_world

TABLES = {
    "generate": generate,
    "experts": experts,
    "rewind": rewind,
    "rewards": rewards,
    "train": train,
    "adapt": adapt,
    "evaluate": evaluate,
    "bench": bench,
    "serve": serve,
    "top": top,
    "edited": edited,
}
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a copy of the world is made faster in memory


@final
@dataclass(frozen=True)
class Result:
    """A case, how it ended, and its faults."""

    name: str
    table: str
    why: str | None
    ended: Ended
    faults: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For the report; long output is cut."""
        ended = asdict(self.ended) | {"stdout": self.ended.stdout[:500], "stderr": self.ended.stderr[-800:]}
        return {"name": self.name, "table": self.table, "why": self.why, **ended, "faults": self.faults}


def all_cases() -> list[tuple[str, Case]]:
    """Every case with the name of its table, each command line once."""
    found = {case.name: (table, case) for table, module in TABLES.items() for case in module.CASES}
    return list(found.values())


def prepare_world(folder: Path, server: Server) -> Path:
    """Build the world, and the outputs of earlier commands that some cases read."""
    world = build_world(folder)
    earlier = {
        "made.jsonl": (*GENERATE_FILE[:-1], "made.jsonl", "--steer", "rewards/q=5"),
        "compared": (*EVALUATE, "--out", "compared", "--reward", "rewards/q", "--beta", "5"),
    }
    for words in earlier.values():
        done = server.run(world, argv=list(words), limit=120)
        if done.code != 0:  # the cases that need it fail, the others still run
            print(f"cannot build a part of the world: {words}: {done.stderr[-500:]}", file=sys.stderr)
            return world
    build_edited_rows(world)
    return world


def run_cases(cases: Sequence[tuple[str, Case]], world: Path, several: list[Server]) -> list[Result]:
    """Run each case in a copy of the world. A case that changes nothing leaves its copy to the next one."""
    copies: list[tuple[Path, dict[str, str]]] = []
    with tempfile.TemporaryDirectory(prefix="torture-", dir=SCRATCH) as place:

        def one(server: Server, item: tuple[int, tuple[str, Case]]) -> Result:
            number, (table, case) = item
            if not copies:
                made = copy_world(world, Path(place, str(number)))
                copies.append((made, snapshot(made)))
            folder, before = copies.pop()
            result = run_case(table, case, folder, before, server)
            show(result)
            if snapshot(folder) == before:
                copies.append((folder, before))
            else:
                remove_world(folder)
            return result

        return spread(several, one, list(enumerate(cases)))


def run_case(table: str, case: Case, folder: Path, before: dict[str, str], server: Server) -> Result:
    """Run one case in its folder."""
    if case.env:
        ended = run_alone(list(case.words), folder, case.env, case.limit, case.stdin)
    else:
        ended = server.run(folder, case.limit, argv=list(case.words), stdin=case.stdin)
    faults = [*faults_of(case, ended, folder, before), *late_faults(case, ended)]
    return Result(case.name, table, case.why, ended, faults)


def show(result: Result) -> None:
    """Print the faults of a case while the others run."""
    for fault in result.faults:
        shown = fault.encode("unicode_escape").decode()
        print(f"{result.table}  {result.name}\n    {shown}", file=sys.stderr)
