"""The documentation: complete, and readable without a network."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import trimtab
import trimtab.errors as errors

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOADED = re.compile(r"""<(?:script|img|link(?=[^>]*rel="?stylesheet))[^>]*?(?:src|href)=["']?(https?:)?//""")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hooks():
    sys.path.insert(0, str(DOCS))
    try:
        import hooks
    finally:
        sys.path.remove(str(DOCS))
    return hooks


def test_the_command_line_page_has_every_command(hooks):
    shown = set(hooks.HELP.findall(page("command-line.md")))
    assert shown == {"", *hooks.command_names()}


def test_help_texts_are_printed_without_escape_codes(hooks):
    shown = hooks.help_text("score")
    assert "--reward" in shown
    assert "\x1b" not in shown


def test_the_troubleshooting_page_has_every_error():
    names = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert names - {"TrimtabError"} == set(re.findall(r"^\| `(\w+)` \|", page("troubleshooting.md"), flags=re.M))


def test_the_reference_has_every_public_name():
    shown = set(
        re.findall(r"^::: trimtab\.(\w+)$", "\n".join(p.read_text() for p in DOCS.glob("api/*.md")), flags=re.M)
    )
    assert set(trimtab.__all__) <= shown


@pytest.mark.parametrize("path", [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=str)
def test_relative_links_lead_to_files(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not re.match(r"https?:", link)]
    assert not [link for link in links if not (path.parent / link).exists()]


def test_code_paths_of_the_algorithms_exist():
    paths = re.findall(r"`([a-z_/]+(?:\.py|/))", page("algorithms.md"))
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / "src/trimtab" / path).exists() and not (ROOT / path).exists()]


def test_the_picture_loads_no_font():
    picture = (DOCS / "images/steering.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "url(http" not in picture
    assert "exquisite" in re.sub(r"<[^>]+>|\s", "", picture)


@pytest.mark.skipif(not (ROOT / "build/site").exists(), reason="make docs builds the site")
def test_the_site_loads_nothing_from_other_hosts():
    pages = sorted((ROOT / "build/site").rglob("*.html"))
    assert len(pages) > 15
    found = {p.name: LOADED.search(p.read_text(encoding="utf-8")) for p in pages if "measured" not in p.parts}
    assert not {name: match.group(0) for name, match in found.items() if match}


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.M)
    assert project["version"] == trimtab.__version__ == cited.group(1)


def test_the_version_option_prints_the_version():
    from trimtab.cli.app import app

    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"trimtab {trimtab.__version__}"
