"""A process that has imported everything, and forks one child for each job: a command line or a Python call.

It reads jobs as JSON lines on stdin and answers each with one JSON line on stdout. A job costs milliseconds instead of
the seconds that an import of torch costs.
"""

import contextlib
import gc
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import trimtab

MEMORY = 2 << 30  # bytes that a job may map beyond what the server maps
WARM = (
    "peft",
    "rich.table",
    "rich.progress",
    "sklearn.metrics",
    "torch._dynamo",
    "matplotlib.pyplot",
    "vaderSentiment.vaderSentiment",
    "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.bert.modeling_bert",
)
READY = "ready"


def serve() -> None:
    """Answer jobs until stdin closes."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what an import prints is no answer
    ours = [module.name for module in walk_packages(trimtab.__path__, "trimtab.") if "__main__" not in module.name]
    for module in (*ours, *WARM):  # all, so that a change of the code does not reach a server that runs
        with contextlib.suppress(ImportError):
            import_module(module)
    from torture.call_world import calls

    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        run_command(["--version"])
    loads = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the server runs
    count_loads(loads.fileno())
    calls()  # reads the tables
    gc.collect()
    gc.freeze()  # or each child copies all pages when it collects its garbage
    print(READY, file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        loads.seek(0)
        loads.truncate()
        print(json.dumps({**run(job), "loads": os.fstat(loads.fileno()).st_size}), file=answers, flush=True)


def count_loads(file: int) -> None:
    """Write one byte to a file whenever a language model's weights are read."""
    from transformers import PreTrainedModel

    plain = PreTrainedModel.from_pretrained.__func__

    def counted(cls, *given, **named):
        os.write(file, b"x")
        return plain(cls, *given, **named)

    PreTrainedModel.from_pretrained = classmethod(counted)


def run(job: dict) -> dict:
    """Run a job in a child and return how it ended."""
    with tempfile.TemporaryDirectory() as place:
        names = [Path(place, name) for name in ("stdin", "stdout", "stderr", "changes")]
        names[0].write_bytes(job.get("stdin", "").encode("utf-8", "surrogatepass"))
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            run_child(job, names)
        status, hung = wait(child, start + job["limit"])
        seconds = time.perf_counter() - start
        out, err = (path.read_bytes().decode("utf-8", "backslashreplace") for path in names[1:3])
        changes = int(names[3].read_text()) if names[3].exists() else None
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "hung": hung, "seconds": round(seconds, 3), "stdout": out, "stderr": err, "changes": changes}


def wait(child: int, deadline: float) -> tuple[int, bool]:
    """The child's wait status, and whether it was killed because it took too long."""
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status, False
        if time.perf_counter() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1], True
        time.sleep(0.003)


def run_child(job: dict, names: list[Path]) -> None:
    """Run the job here and end the process."""
    os.setsid()
    flags = (os.O_RDONLY, os.O_CREAT | os.O_WRONLY | os.O_APPEND, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for number, (name, flag) in enumerate(zip(names, flags, strict=False)):
        os.dup2(os.open(name, flag), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0], encoding="utf-8", closefd=False) for n in range(3))
    code, changes = 1, Changes(job.get("kill_at", 0))
    try:
        prepare(job)
        if "kill_at" in job:
            sys.addaudithook(changes.watch)
        code = run_calls(job["calls"]) if "calls" in job else run_command(job["argv"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        if "kill_at" in job:
            os.write(os.open(names[3], os.O_CREAT | os.O_WRONLY), str(changes.seen).encode())
        os._exit(code)


def prepare(job: dict) -> None:
    """Set the folder, the limits and the moment of death."""
    os.chdir(job["folder"])
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    if "file_size" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    if "kill_after" in job:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        kill_after(job["kill_after"])


def kill_after(seconds: float) -> None:
    """Have a helper process kill this one after some seconds."""
    victim = os.getpid()
    if os.fork() == 0:
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        os._exit(0)


class Changes:
    """Counts changes of files, and kills this process just before the n-th: while it saves. 0 for never."""

    def __init__(self, fatal: int) -> None:
        self.fatal, self.seen = fatal, 0

    def watch(self, event: str, given: tuple) -> None:
        """An audit hook."""
        change = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if change or (event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)):
            self.seen += 1
            if self.seen == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def run_command(argv: list[str]) -> int:
    """Run `trimtab` as the shell does."""
    from trimtab.cli.app import main

    sys.argv = ["trimtab", *argv]
    main()
    return 0


def run_calls(names: list[str]) -> int:
    """Make Python calls, and print how each ended as a JSON line."""
    from torture.call_world import call

    for name in names:
        print(json.dumps(call(name)), flush=True)
    return 0


if __name__ == "__main__":
    serve()
