"""The README's snippets run as they stand, and its commands exist with the options it names."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.M | re.S)
for page in ("training.md", "evaluation.md", "rewind.md"):
    text = (README.parent / "docs" / page).read_text(encoding="utf-8")
    BLOCKS += re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.M | re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line for language, code in BLOCKS if not language for line in code.split("\n") if line.startswith("trimtab ")
]

RUN = [line for line in COMMANDS if line.startswith(("trimtab generate", "trimtab score"))]


@pytest.mark.slow
@pytest.mark.parametrize("code", PYTHON)
def test_python_snippets_run(code, capsys):
    exec(compile(code, str(README), "exec"), {})
    assert len(capsys.readouterr().out) > 20


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_shell_lines_run(command):
    done = subprocess.run(
        [Path(sys.executable).parent / "trimtab", *shlex.split(command)[1:]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", [line for line in COMMANDS if line not in RUN])
def test_the_other_lines_name_real_options(command):
    words = shlex.split(command)[1:]
    groups = {"train", "import", "evaluate", "rewards", "rewind"}
    names = [word for word in words[: 2 if words[0] in groups else 1] if not word.startswith("--")]
    shown = subprocess.run(
        [Path(sys.executable).parent / "trimtab", *names, "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "NO_COLOR": "1"},
    ).stdout
    assert all(word in shown for word in words if word.startswith("--"))
