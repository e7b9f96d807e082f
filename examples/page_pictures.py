"""Take docs/images/page.png and search.png: the server's page over SmolLM2, and a search on it while its tree grows.

    python examples/page_pictures.py docs/images

It needs playwright and a chromium: make test-browser installs both. The page's own first state is shown: the first of
its examples, which was picked from the sixteen of results/showcase.md because its texts differ most.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import FloatRect, Locator, Page, sync_playwright

import trimtab
from trimtab.server.app import create_app
from trimtab.server.listening import running
from trimtab.server.loading import load_registered

WIDE = {"width": 1400, "height": 1000}
SEARCH = "prompt=My neighbour plays loud music every night, so I&max_tokens=16&seed=0&measured=sentiment"
JUDGE, DRAFTS = "+sentiment", 6  # SmolLM2 is too small to judge itself: it gives every draft 0
MARGIN = 24  # pixels around a part of the page
STEPS = 2  # commits in the picture of a search
PATIENCE = 300_000  # milliseconds


def texts(page: Page, out: Path) -> None:
    """The three texts, with the candidates of the first steered token."""
    page.locator("#write:enabled").wait_for()
    page.locator("#steered .token").first.focus()
    bottom = page.locator("#inspector").bounding_box()
    assert bottom is not None
    height = int(bottom["y"] + bottom["height"]) + 10
    page.set_viewport_size({"width": WIDE["width"], "height": height})
    page.screenshot(path=out)


def search(page: Page, out: Path) -> list[int]:
    """A search after some steps; returns how many branches were shown, each time that more were."""
    page.locator("#write:enabled").wait_for()
    page.evaluate(
        "window.grown = []; new MutationObserver(() => window.grown.push(document.querySelectorAll('#search .branch')"
        ".length)).observe(document.querySelector('#search-steps'), { childList: true, subtree: true });"
    )
    page.get_by_label("Judge").select_option(JUDGE)
    page.get_by_label("Drafts per step").fill(str(DRAFTS))
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(f"#search-steps .step:nth-child({STEPS + 1}) .branch").nth(1).wait_for()
    page.screenshot(path=out, full_page=True, clip=with_margin(page.locator("#search")))
    return page.evaluate("window.grown.filter((count, i) => count > (window.grown[i - 1] ?? 0))")


def with_margin(part: Locator) -> FloatRect:
    """The place of a part of the page, with a margin, on the whole page."""
    part.page.evaluate("window.scrollTo(0, 0)")
    box = part.bounding_box()
    assert box is not None
    return {
        "x": box["x"] - MARGIN,
        "y": box["y"] - MARGIN,
        "width": box["width"] + 2 * MARGIN,
        "height": box["height"] + 2 * MARGIN,
    }


def main(folder: Path) -> None:
    """Take both pictures."""
    lm = trimtab.load("smollm2")
    app = create_app(lm, "smollm2", load_registered(None, lm.base))
    with running(app) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for fragment, name in (("", "page.png"), (SEARCH, "search.png")):
            page = browser.new_page(viewport=WIDE)
            page.set_default_timeout(PATIENCE)
            page.goto(f"{address}/#{fragment}" if fragment else address)
            if fragment:
                print("branches on the page, as they grew:", search(page, folder / name))
            else:
                texts(page, folder / name)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
