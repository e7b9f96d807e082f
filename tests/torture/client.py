"""Start servers, send jobs to them, and run cases in processes of their own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from torture.server import READY

TESTS = Path(__file__).parent.parent
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "COLUMNS": "200",
    "MPLBACKEND": "Agg",
}
Item = TypeVar("Item")


@final
@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        code: the exit status; below 0 for a signal.
        hung: whether it took too long.
        seconds: the wall time.
        stdout, stderr: what it printed.
        loads: how often the weights of a language model were read; None if unknown.
        changes: how many files it changed, if the job asked for it.
    """

    code: int
    hung: bool
    seconds: float
    stdout: str
    stderr: str
    loads: int | None = None
    changes: int | None = None


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of all jobs: one thread, no network, no colours."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PYTEST_CURRENT_TEST", "TRIMTAB_OFFLINE")}
    paths = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(TESTS)]))
    return {**kept, **SETTINGS, "PYTHONPATH": paths, **(more or {})}


@final
class Server:
    """A process that forks a child for each job; see `torture.server`.

    Args:
        before: words put before the command, such as those of `unshare`.
    """

    def __init__(self, before: Iterable[str] = ()):
        command = [*before, sys.executable, "-W", "error::UserWarning:trimtab", "-m", "torture.server"]
        self.process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        if self._answer() != READY:
            raise RuntimeError("the server did not start")
        self.lock = threading.Lock()

    def run(self, folder: Path, limit: float = 60.0, **job: Any) -> Ended:
        """Run a job: `argv=[…]` for a command, `call=NAME` for a Python call; see `torture.server.prepare`."""
        with self.lock:
            print(json.dumps({"folder": str(folder), "limit": limit, **job}), file=self.process.stdin, flush=True)
            return Ended(**json.loads(self._answer()))

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> str:
        return self.process.stdout.readline().rstrip("\n")


@contextlib.contextmanager
def servers(count: int) -> Iterator[list[Server]]:
    """Yield some servers, which start at the same time."""
    with ThreadPoolExecutor(count) as pool:
        started = list(pool.map(lambda _: Server(), range(count)))
    try:
        yield started
    finally:
        for server in started:
            server.close()


def spread(several: list[Server], work: Callable[[Server, Item], Any], items: Iterable[Item]) -> list[Any]:
    """Do work for each item, on whichever server is free; returns the results in order."""
    free = list(several)

    def on_a_free_server(item: Item) -> Any:
        server = free.pop()
        try:
            return work(server, item)
        finally:
            free.append(server)

    with ThreadPoolExecutor(len(several)) as pool:
        return list(pool.map(on_a_free_server, items))


def run_alone(argv: list[str], folder: Path, env: dict[str, str], limit: float, stdin: str = "") -> Ended:
    """Run a command in a new process, with its own environment."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "trimtab", *argv]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(env),
            timeout=limit,
            input=stdin.encode("utf-8", "surrogatepass"),
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ended(-9, True, limit, "", "")
    out, err = (each.decode("utf-8", "backslashreplace") for each in (done.stdout, done.stderr))
    return Ended(done.returncode, False, round(time.perf_counter() - start, 3), out, err)
