"""Run a program and its tests in a process of its own, with limits, and say how it ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from tempfile import mkdtemp
from typing import final

from trimtab.checking import checked, shown
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidData, InvalidSetting

CHILD = Path(__file__).with_name("sandboxed_program.py")
ENVIRONMENT = {"PATH": "", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
NO_REPORT = "the process ended without a report"


@final
class Outcome(Enum):
    """How a program ended; the value is CodeRL's return (2207.01780, equation 4)."""

    COMPILE_ERROR = -1.0
    RUNTIME_ERROR = -0.6
    FAILED = -0.3
    PASSED = 1.0


@final
@dataclass(frozen=True)
class Report:
    """How a program and its tests ended.

    Attributes:
        outcome: see `Outcome`. A program that takes too long, or exits before its tests end, is a runtime error.
        message: the error; empty if there is none.
        line: the last line of the program in the error's traceback, from 1; None if there is none.
    """

    outcome: Outcome
    message: str = ""
    line: int | None = None


@final
@checked
@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: of time.
        cpu_seconds: of time on a CPU, whole seconds.
        memory: bytes of address space, the interpreter's included.
        file_size: bytes of each file that it writes.

    Raises:
        InvalidSetting: a limit is not above 0.
    """

    seconds: float = 5.0
    cpu_seconds: int = 5
    memory: int = 2**30
    file_size: int = 2**20

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise InvalidSetting(f"got {name}={shown(value)}, expected above 0")


@checked
def run_tests(jobs: Sequence[tuple[str, str]], limits: Limits | None = None) -> list[Report]:
    """Run programs with their tests, as many at once as there are CPUs; returns a report of each.

    A program has no network, starts no other process, and writes into a folder of its own only, which is removed.
    Network and processes are refused by Python's audit hooks, and the network also by a namespace where Linux allows
    one. This guards against accidents of a model's code. It is no fence against an attacker: for that, run trimtab in a
    container or a virtual machine.

    Args:
        jobs: programs and tests, as Python source. The tests run behind the program, in its namespace.
        limits: of each program; default: `Limits()`.

    Raises:
        InvalidSetting: the system has no limits for processes, as on Windows; or tests are no Python.
    """
    if os.name != "posix":
        raise InvalidSetting("got unit tests on a system without limits for processes, expected Linux or macOS")
    for tests in dict.fromkeys(tests for _, tests in jobs):
        check_tests(tests)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(lambda job: _run(job[0], job[1], limits or Limits()), jobs))


def check_tests(tests: str) -> None:
    """Refuse tests that are no Python.

    Raises:
        InvalidSetting: they cannot be compiled.
    """
    try:
        compile(tests, "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidSetting(
            f"got tests that are no Python ({error}), expected assertions about the program"
        ) from error


def _run(program: str, tests: str, limits: Limits) -> Report:
    folder = mkdtemp(prefix="trimtab-tests-")
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**ENVIRONMENT, "HOME": folder, "TMPDIR": folder},
            start_new_session=True,
        )
        job = dump_json({"program": program, "tests": tests, "limits": asdict(limits)}).encode()
        try:
            found, _ = process.communicate(job, timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            return Report(Outcome.RUNTIME_ERROR, f"it took more than {limits.seconds:g} seconds")
        finally:
            _end(process)
        return _read(found)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process, and any that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()


def _read(found: bytes) -> Report:
    try:
        report = parse_json(found)
        return Report(Outcome[report["outcome"].upper().replace(" ", "_")], report["message"], report["line"])
    except (InvalidData, KeyError, TypeError, AttributeError):
        return Report(Outcome.RUNTIME_ERROR, NO_REPORT)
