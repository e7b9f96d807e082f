"""The command line as a whole: its entry points, its version, and its errors."""

import errno
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from trimtab.cli.app import main
from trimtab.errors import InvalidSetting

NOT_EMPTY = Path(__file__).parent
NO_DATA = ["--data", "none.jsonl", "--out", "x"]


@pytest.mark.parametrize("command", [[Path(sys.executable).parent / "trimtab"], [sys.executable, "-m", "trimtab"]])
def test_both_entry_points_print_the_version_of_the_package(command):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"trimtab {version('trimtab')}\n"
    assert re.match(r"trimtab \d+\.\d+\.\d+", done.stdout)


def test_help_and_errors_do_not_import_torch():
    """The command line starts fast: settings are checked before a model library is imported."""
    code = "import sys; from trimtab.cli import app; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("words", [[], ["train"], ["evaluate"], ["rewards"], ["import"]])
def test_a_group_without_a_command_shows_its_help(trimtab, words):
    done = trimtab(*words, check=False)
    assert "Usage" in done.stdout + done.stderr
    assert "Commands" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["generate"], "no prompts"),
        (["generate", ""], "empty prompt"),
        (["generate", "Hi", "--input", "x.jsonl"], "--output"),
        (["generate", "--input", "none.jsonl", "--output", "x.jsonl"], "no such file"),
        (["generate", "Hi", "--steer", "toxicity"], "NAME=+BETA"),
        (["generate", "Hi", "--steer", "toxicity=many"], "NAME=+BETA"),
        (["generate", "Hi", "--steer", "toxicity=inf"], "NAME=+BETA"),
        (["generate", "Hi", "--top-k", "-3"], "--top-k -3"),
        (["generate", "Hi", "--temperature", "-1"], "--temperature -1"),
        (["generate", "Hi", "There", "--stream"], "--stream"),
        (["generate", "Hi", "--method", "magic"], "arm or rad"),
        (["generate", "Hi", "--show-rewards", "--json"], "--show-rewards"),
        (["generate", "Hi", "--model", "no-such-model"], "smollm2"),
        (["score", "--reward", "sentiment"], "--text or --input"),
        (["rewards", "show", "nonsense"], "sentiment"),
        (["train", "labels", *NO_DATA], "no such file"),
        (["train", "labels", *NO_DATA, "--rank", "0"], "rank"),
        (["train", "labels", *NO_DATA, "--layers", "0"], "layers"),
        (["train", "labels", *NO_DATA, "--head", "w"], "q or v"),
        (["train", "labels", "--data", "none.jsonl", "--out", NOT_EMPTY], "it holds"),
        (["train", "labels", *NO_DATA, "--column", "a", "--column", "b"], "2 columns"),
        (["rewind"], "got no prompts"),
        (["rewind", ""], "got an empty prompt"),
        (["rewind", "Hi", "--judge", "toxicity"], "toxicity=-1"),
        (["rewind", "Hi", "--judge", "toxicity=-3"], "toxicity=-1"),
        (["rewind", "Hi", "--judge", "toxicty=-1"], "did you mean toxicity=-1"),
        (["rewind", "Hi", "--judge", "self:sentimnt"], "sentiment"),
        (["rewind", "Hi", "--input", "x.jsonl"], "--output"),
        (["rewind", "--input", __file__, "--output", "y.jsonl", "--show-tree"], "--show-tree"),
        (["rewind", "Hi", "--steer", "toxicity"], "NAME=+BETA"),
        (["rewind", "Hi", "--iterations", "0"], "--iterations 0"),
        (["rewind", "Hi", "--max-seconds", "0"], "--max-seconds 0.0"),
        (["rewind", "calibrate", "--data", "x.jsonl", "--judge", "nobody"], "toxicity=-1"),
        (["import", "rad", "none.bin", "--attributes", "a", "--out", "x"], "no such file"),
    ],
)
def test_a_mistake_gives_one_line_on_stderr_and_exit_status_1(trimtab, tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    done = trimtab(*words, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert expected in done.stderr
    assert done.stderr.startswith("trimtab: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_mistakes_that_need_the_model_give_one_line_too(trimtab, place):
    for words, expected in (
        (["--steer", "nonsense=+1"], "toxicity"),
        (["--top-k", "100000"], "64"),
        (["--steer", "sentiment=+1"], "sentiment"),
    ):
        done = trimtab("generate", "w1", "--model", place / "lm", *words, check=False)
        assert done.status == 1
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "out.jsonl"),
            "No space left on device: 'out.jsonl'; free some",
        ),
        (OSError(errno.EFBIG, "File too large"), "File too large; raise the limit of the size of a file"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "Permission denied: 'x'"),
        (OSError("a message of its own"), "a message of its own"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (InvalidSetting("got \x1b[31m\nand more"), "got <U+001B>[31m and more"),
    ],
)
def test_a_fault_of_the_machine_is_one_line(trimtab, monkeypatch, error, expected):
    def fail():
        raise error

    monkeypatch.setattr("trimtab.cli.app.app", fail)
    done = trimtab("generate", check=False)
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr.startswith(f"trimtab: {expected}")
    assert done.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail():
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr("trimtab.cli.app.app", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        main()


def test_an_interrupt_is_said(trimtab, monkeypatch):
    def interrupt(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.cli.generate.check_prompts", interrupt)
    done = trimtab("generate", "w1", check=False)
    assert (done.status, done.stderr) == (130, "trimtab: interrupted\n")


def test_a_closed_pipe_is_no_fault():
    done = subprocess.run(
        f"{sys.executable} -m trimtab rewards list | head -c 1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_terminal_without_unicode_shows_escapes(place):
    words = [sys.executable, "-m", "trimtab", "generate", "w1 é", "--model", place / "lm", "--max-new-tokens", "2"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stdout[:7]) == (0, "w1 \\xe9")
