"""The page's files: public, complete, and unable to load anything from elsewhere."""

import json
import re
import shutil
import subprocess
from importlib.resources import files

import httpx
import pytest

from running_server import KEY, running
from trimtab.server.app import create_app
from trimtab.server.page_files import HEADERS, TREE_STYLE, page_files

NAMES = sorted(page_files())
SCRIPTS = [name for name in NAMES if name.endswith(".js")]
DECLARED = re.compile(
    r"^export (?:async )?(?:function\*? |class |const |let )(\w+)|^(?:async )?(?:function\*? |class |const |let )(\w+)",
    re.M,
)


def text_of(name):
    return page_files()[name].decode()


def path_of(name):
    return "/" if name == "index.html" else f"/page/{name}"


@pytest.fixture(scope="module")
def guarded(chatting):
    with running(create_app(chatting, "tiny", [], api_key=KEY)) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_public_and_has_strict_headers(guarded, name):
    done = guarded.get(path_of(name))
    assert done.status_code == 200
    folder = files("trimtab.rewind") if name == TREE_STYLE else files("trimtab.server") / "page"
    assert done.content == (folder / name).read_bytes()
    assert HEADERS.items() <= {key.title(): value for key, value in done.headers.items()}.items()
    assert "unsafe" not in done.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/page/", "/page/none.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page/index.html"]
)
def test_no_other_file_is_served(guarded, path):
    assert guarded.get(path).status_code in (401, 404)


def test_the_page_names_files_that_exist():
    named = re.findall(r'(?:href|src)="page/([^"]+)"', text_of("index.html"))
    imported = [name for script in SCRIPTS for name in re.findall(r'from "\./([^"]+)"', text_of(script))]
    assert set(named) | set(imported) <= set(NAMES)
    assert len(named) == 4


def test_the_page_has_no_inline_script_or_style():
    page = text_of("index.html")
    assert not re.findall(r"<style|<script(?![^>]*src=)|\sstyle=|\son\w+=", page)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("ids", "variants"),
    [
        (["my-tone"], []),
        (["sentiment", "sentiment-rad", "my-tone", "my-tone-own"], ["sentiment-rad", "my-tone-own"]),
        (["mood-rad", "moody", "mood"], ["mood-rad"]),
    ],
)
def test_a_reward_is_a_variant_only_beside_the_one_that_it_is_a_variant_of(ids, variants):
    """Others have a slider that is in sight, are measured from the start, and may judge."""
    rewards = f"const all = {json.dumps(ids)}.map((id) => ({{ id }}));"
    asked = f"{rewards}\nconsole.log(all.filter((each) => isVariant(each, all)).map(({{ id }}) => id).join());"
    node = ["node", "--input-type=module", "-"]
    done = subprocess.run(node, input=f"{text_of('variants.js')}\n{asked}", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ",".join(variants)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_inserts_text_only_and_calls_no_other_host(name):
    assert not re.findall(
        r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://", text_of(name)
    )


def test_the_scripts_can_be_joined_into_one_file():
    """As the saved page does: every import is one line, and no two scripts declare the same name."""
    lines = [line for name in SCRIPTS for line in text_of(name).splitlines() if re.match(r"import\b", line)]
    assert all(re.fullmatch(r'import \{ [\w, ]+ \} from "\./\w+\.js";', line) for line in lines)
    names = [first or second for script in SCRIPTS for first, second in DECLARED.findall(text_of(script))]
    assert len(names) == len(set(names))
    order = re.findall(r'"(\w+)"', re.search(r"const MODULES = \[(.*?)\]", text_of("save.js"), re.S)[1])
    assert sorted(f"{name}.js" for name in order) == SCRIPTS
    for place, name in enumerate(order):
        assert set(re.findall(r'from "\./(\w+)\.js"', text_of(f"{name}.js"))) <= set(order[:place])
