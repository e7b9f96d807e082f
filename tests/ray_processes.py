"""Rows of many files, and the processes of a Ray cluster on this machine."""

import json
import os
import signal
from pathlib import Path

SHARDS, PROMPTS, BATCH = 3, 16, 2
ACTOR = "ray::MapWorker"


def rows_of(folder):
    """The rows of each file, without what depends on the machine and on the last digits of a batch."""
    files = {path.name: path.read_text(encoding="utf-8").splitlines() for path in sorted(folder.glob("*.jsonl"))}
    return {name: [_settled(json.loads(line)) for line in lines] for name, lines in files.items()}


def _settled(row):
    return {name: row[name] for name in ("line", "sample", "prompt", "text", "token_ids", "finish_reason")}


def actors_of(node):
    """The process ids of the actors of a raylet that hold an engine."""
    (raylet,) = [each.process.pid for each in node.all_processes["raylet"]]
    return [pid for pid in children(raylet) if name_of(pid).startswith(ACTOR)]


def children(parent):
    """The process ids of the children of a process, and theirs."""
    direct = [int(pid) for path in Path(f"/proc/{parent}/task").glob("*/children") for pid in path.read_text().split()]
    return [*direct, *(pid for child in direct for pid in children(child))]


def name_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[0]
    except FileNotFoundError:
        return ""


def kill(pid):
    os.kill(pid, signal.SIGKILL)
