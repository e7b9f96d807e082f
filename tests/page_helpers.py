"""States of the server's page, and what tests read from it and do to it."""

from urllib.parse import parse_qs

WIDE, PHONE = {"width": 1400, "height": 1000}, {"width": 390, "height": 844}
START = "mode=text&prompt=w1+w2+w3&nudge=w9+&seed=3&max_tokens=8&measured=mood&beta.mood:kind=4&colour=mood:kind"
KINDS = ("unsteered", "prompted", "steered")
LUMINANCE = """(each, name) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = getComputedStyle(each)[name];
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
}"""


def written(page):
    """Wait until all texts of a page are written."""
    for kind in KINDS:
        page.locator(f"#{kind}[aria-busy=false] .token").first.wait_for()


def idle(page):
    """Wait until nothing is being written."""
    page.locator("#write:enabled").wait_for()


def tells(page, kind, text):
    """Wait until a column's status has a text, and return the status."""
    found = page.locator(f"#{kind} .status", has_text=text)
    found.wait_for()
    return found.inner_text()


def column(page, kind):
    """The tokens of a column."""
    return page.locator(f"#{kind} .token")


def text_of(page, kind):
    """The texts of a column's tokens; a token without text is shown as a dot."""
    return [each.removesuffix("·") for each in column(page, kind).all_inner_texts()]


def slide(page, name, value):
    """Move a slider as a pointer or a key does."""
    page.locator(f"input[type=range][data-name='{name}']").evaluate(
        "(range, value) => { range.value = value; range.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def fragment(page):
    """The state in a page's address."""
    return {name: value for name, (value,) in parse_qs(page.url.partition("#")[2]).items()}


def luminance(page, selector, name):
    """The relative luminance of a colour, as WCAG defines it; a canvas turns any notation into bytes."""
    found = page.locator(selector).first.evaluate(LUMINANCE, name)
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (each / 255 for each in found[:3])]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
