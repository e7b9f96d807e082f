"""The child process of `trimtab.judges.sandbox`: runs a program and its tests, and reports the outcome.

It is run as a script by a fresh interpreter, and imports the standard library only. A JSON object comes in by standard
input, and one goes out by standard output, which the program cannot reach by printing.
"""

import _posixsubprocess
import contextlib
import ctypes
import json
import os
import resource
import socket
import sys
import traceback
from typing import Any

PROGRAM, TESTS = "<program>", "<tests>"
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # of Linux' unshare
MESSAGE = 300  # characters of a message
REFUSED = ("socket.", "subprocess.", "pty.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.kill")
VERBS = ["remove", "rename", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown", "chdir", "utime"]
CHANGES = ("shutil.", "sqlite3.connect", "os.setxattr", *(f"os.{verb}" for verb in VERBS))
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Read a job, run it, and report."""
    job = json.load(sys.stdin)
    report = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    restrict(os.getcwd(), job["limits"])
    report.write(json.dumps(run(job["program"], job["tests"])))
    report.flush()
    os._exit(0)  # without what the program left to run at its exit


def restrict(folder: str, limits: dict[str, int]) -> None:
    """Take away the network, other processes, files outside of the folder, and what exceeds the limits."""
    sys.dont_write_bytecode = True
    with contextlib.suppress(OSError, AttributeError):  # where there are no namespaces, the audit hook is left
        ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK)
    _posixsubprocess.fork_exec = refuse_process
    real = os.path.realpath(folder)
    sys.addaudithook(lambda event, args: check(event, args, real))
    bounds = {
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file_size"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        resource.setrlimit(kind, (bound, bound))


def check(event: str, args: tuple[Any, ...], folder: str) -> None:
    """Refuse an event of Python's audit that leaves the sandbox.

    Raises:
        PermissionError: it does.
    """
    if event.startswith(REFUSED) and not is_local(event, args):
        raise PermissionError(f"the sandbox refuses {event}")
    if event == "open":
        path, _, flags = args
        if flags & WRITES and outside(path, folder):
            raise PermissionError(f"the sandbox refuses to write {path!r}")
    elif event.startswith(CHANGES):
        for path in args[:2]:  # what follows are names and values
            if outside(path, folder):
                raise PermissionError(f"the sandbox refuses {event} of {path!r}")


def is_local(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an event makes a socket of this machine, as a loop of asyncio has one to wake itself."""
    return event == "socket.__new__" and args[1] == socket.AF_UNIX


def refuse_process(*args: object) -> int:
    """In place of what multiprocessing starts processes by, which raises no event.

    Raises:
        PermissionError: always.
    """
    raise PermissionError("the sandbox refuses another process")


def outside(path: object, folder: str) -> bool:
    """Whether an argument is a path outside of the folder, or a URI, which SQLite takes for one.

    The device that swallows everything is inside.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    name = os.fsdecode(path)
    real = os.path.realpath(name)
    return name.startswith("file:") or (real != os.devnull and os.path.commonpath([real, folder]) != folder)


def run(program: str, tests: str) -> dict[str, Any]:
    """The outcome of a program and its tests, which run behind it in one namespace."""
    try:
        code = compile(program, PROGRAM, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return outcome("compile error", error, getattr(error, "lineno", None))
    checks = compile(tests, TESTS, "exec")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(code, namespace)
        exec(checks, namespace)
    except BaseException as error:  # an exit of the program, too, is no pass
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in (PROGRAM, TESTS)]
        if isinstance(error, AssertionError) and frames and frames[-1].filename == TESTS:
            return outcome("failed", error, None)
        own = [frame.lineno for frame in frames if frame.filename == PROGRAM]
        return outcome("runtime error", error, own[-1] if own else None)
    return outcome("passed", None, None)


def outcome(name: str, error: BaseException | None, line: int | None) -> dict[str, Any]:
    """A report: the outcome, the error, and the last line of the program in its traceback."""
    message = "" if error is None else f"{type(error).__name__}: {error}"[:MESSAGE]
    return {"outcome": name, "message": message, "line": line}


if __name__ == "__main__":
    main()
