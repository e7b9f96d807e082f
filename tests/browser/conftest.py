"""One browser and one server over a tiny random model. Without playwright or a browser these tests are skipped."""

import shutil
from importlib.util import find_spec

import pytest

from page_helpers import START, WIDE, written

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "playwright")
MISSING = [name for name in NEEDED if find_spec(name) is None] + ([] if BROWSER else ["chromium"])


def pytest_collection_modifyitems(items):
    reason = f"needs {', '.join(MISSING)}: make test-browser"
    for item in items:
        if MISSING and "browser" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def chatting():
    """A tiny random model with a chat template."""
    from tiny_chat import chat_lm
    from trimtab.engines.torch.engine import TorchEngine
    from trimtab.language_model import LanguageModel

    return LanguageModel(TorchEngine(chat_lm()))


@pytest.fixture(scope="session")
def mood(chatting):
    """A registered reward with two attributes."""
    from tiny import tiny_reward
    from trimtab.server.reward_shelf import RegisteredReward

    return RegisteredReward.of("mood", tiny_reward(chatting.base, "q", seed=1))


@pytest.fixture(scope="session")
def site(chatting, mood):
    """The address of a server with two rewards."""
    from running_server import running
    from tiny import tiny_reward
    from trimtab.server.app import create_app
    from trimtab.server.reward_shelf import RegisteredReward
    from trimtab.server.server_settings import ServerSettings

    other = RegisteredReward.of("mood-rad", tiny_reward(chatting.base, "v", seed=2))
    with running(create_app(chatting, "tiny", [mood, other], ServerSettings(max_rows=16, max_tokens=40))) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium. Its event loop ends with these tests: others run loops of their own in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser, site):
    """Open a page with a state, and wait until its texts are written. Errors in its console fail the test."""
    contexts, faults = [], []

    def opened(fragment=START, wait=True, address=site, **options):
        context = browser.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a ceiling for a busy machine
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: line.type == "error" and faults.append(line.text))
        page.goto(f"{address}/#{fragment}" if fragment else address)
        if wait:
            written(page)
        return page

    opened.faults = faults
    yield opened
    for context in contexts:
        context.close()
    assert not faults
