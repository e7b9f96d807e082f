"""One browser and one server over a tiny random model. Without playwright or a browser these tests are skipped."""

import shutil
from importlib.util import find_spec

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = ("fastapi", "uvicorn", "prometheus_client", "playwright")
MISSING = [name for name in NEEDED if find_spec(name) is None] + ([] if BROWSER else ["chromium"])
WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
START = "mode=text&prompt=w1+w2+w3&nudge=w9+&seed=3&max_tokens=12&measured=mood&beta.mood:kind=4&colour=mood:kind"


def pytest_collection_modifyitems(items):
    reason = f"needs {', '.join(MISSING)}: make test-browser"
    for item in items:
        if MISSING and "browser" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def site():
    """The address of a server with two rewards over a tiny model."""
    from running_server import running
    from tiny import tiny_reward
    from tiny_chat import chat_lm
    from trimtab.engines.torch.engine import TorchEngine
    from trimtab.language_model import LanguageModel
    from trimtab.server.app import create_app
    from trimtab.server.reward_shelf import RegisteredReward
    from trimtab.server.server_settings import ServerSettings

    lm = LanguageModel(TorchEngine(chat_lm()))
    arm, rad = tiny_reward(lm.base, "q", seed=1), tiny_reward(lm.base, "v", seed=2)
    rewards = [RegisteredReward.of("mood", arm), RegisteredReward.of("mood-rad", rad)]
    with running(create_app(lm, "tiny", rewards, ServerSettings(max_rows=16, max_tokens=40))) as url:
        yield url


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
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
        page.set_default_timeout(15_000)
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


def written(page):
    """Wait until all texts of a page are written."""
    page.wait_for_function("document.querySelectorAll('.column[aria-busy=false] .token').length > 0")
    page.wait_for_function("document.querySelectorAll('.column[aria-busy=false]').length === 3")
