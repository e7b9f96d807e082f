"""Hooks of mkdocs: add results/ to the site, link the source, and print the help of commands.

* A link to `../results/FILE` works on GitHub and here: Markdown and pictures of results/ become part of the site.
* A link to any other file outside docs/ becomes a link to the source on GitHub.
* `<!-- help: trimtab train labels -->` becomes what that command prints with `--help`.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
SOURCE = "https://github.com/trimtab/trimtab/blob/main/"
MOUNT = "measured"
MOUNTED = {".md", ".png", ".svg", ".html"}
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)]+)\)")
HELP = re.compile(r"<!-- help: trimtab ?(.*?) -->")
WIDTH = 100


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures of results/."""
    for path in sorted((ROOT / "results").rglob("*")):
        if path.suffix in MOUNTED:
            name = f"{MOUNT}/{path.relative_to(ROOT / 'results').as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Resolve links that leave docs/, and fill in help texts."""
    place = page.file.src_uri

    def link(found: re.Match[str]) -> str:
        up, rest = found.groups()
        folder = Path("results" if place.startswith(MOUNT) else "docs") / Path(place.removeprefix(MOUNT + "/")).parent
        target = (ROOT / folder / up / rest.partition("#")[0]).resolve().relative_to(ROOT)
        if target.parts[0] == "docs":
            return found.group(0)
        if target.parts[0] == "results" and target.suffix in MOUNTED:
            if place.startswith(MOUNT):
                return found.group(0)
            depth = "../" * place.count("/")
            return f"]({depth}{MOUNT}/{target.relative_to('results').as_posix()})"
        return f"]({SOURCE}{target.as_posix()})"

    return HELP.sub(lambda found: f"```text\n{help_text(found.group(1))}\n```", OUTSIDE.sub(link, markdown))


def help_text(command: str) -> str:
    """What `trimtab COMMAND --help` prints, on a terminal of fixed width and without colours."""
    from trimtab.cli.app import app

    runner = CliRunner(env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"})
    shown = runner.invoke(app, [*command.split(), "--help"], prog_name="trimtab", terminal_width=WIDTH)
    if shown.exit_code:
        raise RuntimeError(f"trimtab {command} --help: {shown.output}")
    return "\n".join(line.rstrip() for line in shown.output.strip("\n").splitlines())


def command_names() -> list[str]:
    """Every command, as typed behind `trimtab`."""
    from trimtab.cli.app import app

    names = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        names += [f"{name} {sub}" for sub in command.commands] if isinstance(command, TyperGroup) else [name]
    return names
