"""The wheel and the sdist hold what they must, and the wheel alone writes a text."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IN_THE_WHEEL = [
    "trimtab/__init__.py",
    "trimtab/py.typed",
    "trimtab/rewind/page.css",
    "trimtab/rewind/tree.css",
    *(f"trimtab/server/page/{name}" for name in ("index.html", "style.css", "icon.svg", "main.js", "steering.js")),
    "trimtab/judges/questions/harmlessness.toml",
    *(
        f"trimtab/rewards/bundled/{name}/{file}"
        for name in (f"{task}{kind}" for task in ("sentiment", "toxicity") for kind in ("", "-lora", "-rad", "-own"))
        for file in ("config.json", "reward.safetensors", "README.md")
    ),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)])
    return out


def run(command: list[str], **options) -> str:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_weights_questions_styles_and_types(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    assert not set(IN_THE_WHEEL) - names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


@pytest.mark.slow
def test_the_sdist_holds_the_source_and_its_tests(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"src/trimtab/__init__.py", "tests/conftest.py", "README.md", "LICENSE", "Makefile", "mkdocs.yml"} <= names


@pytest.mark.slow
def test_the_installed_wheel_generates_outside_the_checkout(built, tmp_path):
    """The environment has the wheel only; its dependencies are read from this one, so that torch is not fetched again.

    A folder named in a .pth file is searched for packages, but the .pth files in it, such as the one of this checkout's
    editable install, have no effect.
    """
    home = tmp_path / "empty"
    run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    python = str(home / "bin" / "python")
    wheel = str(next(built.glob("*.whl")))
    run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel])
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    where = run([python, "-c", "import trimtab; print(trimtab.__file__)"], cwd=tmp_path, env=clean).strip()
    assert Path(where).is_relative_to(home)
    asked = ["generate", "The food was", "--steer", "sentiment=+20", "--max-new-tokens", "3", "--seed", "0", "--json"]
    printed = run([str(home / "bin" / "trimtab"), *asked], cwd=tmp_path, env=clean)
    row = json.loads(printed)
    assert row["prompt"] == "The food was"
    assert row["text"].strip()
