"""Run the malformed Python calls."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torture.call_world import ACCEPTED, FOREIGN, Call, calls
from torture.cli_cases import Result, show
from torture.client import Ended, Server, spread
from torture.verdict import snapshot

LONGEST_MESSAGE = 600
TOGETHER, LIMIT = 40, 240.0  # calls of one process, and the seconds that it may take
CODES = {ACCEPTED: 0, FOREIGN: 3}


def run_calls(world: Path, several: list[Server], only: str) -> list[Result]:
    """Make the calls whose name holds a text. Calls of the face write no files; one copy of the world serves all."""
    return run_named(world, several, [name for name in calls() if only in name])


def run_named(world: Path, several: list[Server], names: Sequence[str]) -> list[Result]:
    """Make some calls."""
    before = snapshot(world)
    parts = [names[start : start + TOGETHER] for start in range(0, len(names), TOGETHER)]
    results = [
        result for of in spread(several, lambda one, part: run_together(world, one, part), parts) for result in of
    ]
    if changed := [name for name, about in snapshot(world).items() if before.get(name) != about]:
        raise RuntimeError(f"a call changed files: {changed}")
    return results


def run_together(world: Path, server: Server, names: Sequence[str]) -> list[Result]:
    """Make some calls in one process; one that ends the process is a fault, and the rest have a new process."""
    results, left = [], list(names)
    while left:
        ended = server.run(world, LIMIT, calls=left)
        for line in ended.stdout.splitlines():
            if line.startswith('{"name"'):
                results.append(judge(calls()[left.pop(0)], json.loads(line)))
        if left:
            fault = f"hang: over {LIMIT:.0f} s" if ended.hung else f"signal: exit {ended.code}: {ended.stderr[-300:]}"
            results.append(Result(left.pop(0), "calls", None, ended, [fault]))
    for result in results:
        show(result)
    return results


def judge(each: Call, made: dict[str, Any]) -> Result:
    """The result of a call that has ended."""
    ended = Ended(CODES.get(made["ended"], 1), False, made["seconds"], "", made["message"])
    return Result(each.name, "calls", each.why, ended, faults_of_call(each, made["ended"], made["message"]))


def faults_of_call(each: Call, ended: str, message: str) -> list[str]:
    """The faults of a call that has ended."""
    if ended == FOREIGN:
        return [f"foreign exception: {message}"]
    if ended == ACCEPTED:
        return [] if each.why is not None else [f"silent acceptance: returned {message}"]
    faults = [f"needless refusal: the table says {each.why!r}: {message}"] if each.why is not None else []
    if len(message) > LONGEST_MESSAGE or "\n" in message:
        faults.append(f"long message: {len(message)} characters: {message[:300]}")
    if any(ord(character) < 32 for character in message):
        faults.append(f"escape code: in the message {message[:200]!r}")
    return faults
