"""The page in a browser: type, slide, hover, fork, search, save, link, keyboard, phone width, dark mode."""

import json
import re
from urllib.parse import quote, urlencode

import httpx
import pytest

from page_helpers import PHONE, START, WIDE, column, fragment, idle, luminance, slide, tells, text_of, written


@pytest.fixture(scope="module")
def start_page(browser, site):
    """A page that several tests read and leave as they found it."""
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{site}/#{START}")
    written(page)
    yield page
    page.close()


def tail_of(site, **fields):
    """The traced tokens of a text, from the server itself."""
    asked = {"prompt": "w1 w2 w3", "seed": 3, "max_tokens": 8, "trimtab": {"trace": True}, **fields}
    done = httpx.post(f"{site}/v1/completions", json=asked, timeout=30)
    assert done.status_code == 200, done.text
    return done.json()


def shown(token, ends=2):
    if token["token_id"] == ends:
        return "end"
    return token["text"] or ""


def calls(page):
    """The requests for texts that a page sends from now on."""
    found = []
    page.on("request", lambda request: found.append(request) if "completions" in request.url else None)
    return found


def steer(kind=0.0):
    return {"mood": {"beta": kind, "attribute": "kind"}}


def test_the_page_starts_with_texts_and_not_blank(open_page, site):
    page = open_page("")
    assert column(page, "unsteered").count() > 0
    assert page.locator("#prompt").input_value() == "The weather today makes me"
    assert fragment(page)["measured"] == "mood"


def test_typed_prompts_are_written_in_three_ways(open_page, site):
    page = open_page()
    page.get_by_label("Text to continue").fill("w5 w6")
    page.get_by_label("Text before the prompt").fill("w7 ")
    page.get_by_role("button", name="Write", exact=True).click()
    idle(page)
    for kind, prompt, beta in (("unsteered", "w5 w6", 0.0), ("prompted", "w7 w5 w6", 0.0), ("steered", "w5 w6", 4.0)):
        expected = tail_of(site, prompt=prompt, steer=steer(beta))["choices"][0]["trimtab"]["trace"]
        assert text_of(page, kind) == [shown(token) for token in expected]


def test_a_chat_has_a_system_message(open_page, site):
    page = open_page()
    page.get_by_label("Chat", exact=True).check()
    page.get_by_label("Message", exact=True).fill("w5 w6")
    page.get_by_label("System message").fill("w8")
    page.get_by_role("button", name="Write", exact=True).click()
    idle(page)
    messages = [{"role": "system", "content": "w8"}, {"role": "user", "content": "w5 w6"}]
    asked = {"messages": messages, "seed": 3, "max_tokens": 8, "trimtab": {"trace": True}, "steer": steer()}
    (choice,) = httpx.post(f"{site}/v1/chat/completions", json=asked, timeout=30).json()["choices"]
    assert text_of(page, "prompted") == [shown(token) for token in choice["trimtab"]["trace"]]


def test_a_slider_foretells_what_the_model_then_writes(open_page, site):
    """No call while it moves; then one call, and its text is the server's own for the new β."""
    page = open_page()
    before, sent = text_of(page, "steered"), calls(page)
    slide(page, "mood:kind", -6)
    status = page.locator("#steered .status")
    place = int(re.search(r"from token (\d+)", status.inner_text())[1])
    foretold = page.locator("#steered .diverges").get_attribute("data-instead")
    assert sent == []
    assert page.locator("#steered .after").count() == len(before) - place
    expected = tail_of(site, steer=steer(-6))["choices"][0]["trimtab"]["trace"]
    page.get_by_role("button", name="Write on from there").click()
    tells(page, "steered", "as the page foretold")
    after = text_of(page, "steered")
    assert len(sent) == 1
    assert after == [shown(token) for token in expected]
    assert after[: place - 1] == before[: place - 1]
    assert after[place - 1] == foretold.replace("␣", " ")
    assert fragment(page)["beta.mood:kind"] == "-6"


def test_a_budget_acts_at_once_and_foretells_what_the_model_then_writes(open_page, site):
    page = open_page(START.replace("kind=4", "kind=30"))
    budget, sent = page.get_by_label("Budget"), calls(page)
    budget.fill("0.05")
    numbers = page.locator("#steered .numbers").inner_text()
    assert float(re.search(r"([\d.]+) nats", numbers)[1]) <= 0.05
    assert sent == []
    page.get_by_role("button", name="Write on from there").click()
    tells(page, "steered", "as the page foretold")
    expected = tail_of(site, steer=steer(30), max_kl=0.05)["choices"][0]["trimtab"]["trace"]
    assert text_of(page, "steered") == [shown(token) for token in expected]
    assert fragment(page)["max_kl"] == "0.05"


def test_top_p_goes_into_the_request_and_the_link(open_page, site):
    page = open_page(START + "&top_p=0.5")
    expected = tail_of(site, steer=steer(4), top_p=0.5)["choices"][0]["trimtab"]["trace"]
    assert text_of(page, "steered") == [shown(token) for token in expected]
    page.get_by_text("Sampling", exact=True).click()
    page.get_by_label("Top p").fill("0.8")
    page.get_by_label("Seed").click()
    page.get_by_role("button", name="Write", exact=True).click()
    idle(page)
    expected = tail_of(site, steer=steer(4), top_p=0.8)["choices"][0]["trimtab"]["trace"]
    assert text_of(page, "steered") == [shown(token) for token in expected]
    assert fragment(page)["top_p"] == "0.8"


def test_a_chat_goes_on_from_an_answer(open_page, site):
    page = open_page(START.replace("mode=text", "mode=chat"))
    answer = "".join(text_of(page, "steered")).removesuffix("end").strip()
    page.locator("#steered").get_by_role("button", name="Reply to this answer").click()
    page.get_by_label("Message", exact=True).fill("w5 w6")
    page.get_by_role("button", name="Write", exact=True).click()
    idle(page)
    turns = [{"role": "user", "content": "w1 w2 w3"}, {"role": "assistant", "content": answer}]
    messages = [*turns, {"role": "user", "content": "w5 w6"}]
    asked = {"messages": messages, "seed": 3, "max_tokens": 8, "trimtab": {"trace": True}, "steer": steer()}
    (choice,) = httpx.post(f"{site}/v1/chat/completions", json=asked, timeout=30).json()["choices"]
    assert text_of(page, "unsteered") == [shown(token) for token in choice["trimtab"]["trace"]]
    assert json.loads(fragment(page)["turns"]) == turns
    assert page.locator("#conversation li").count() == 2
    page.get_by_role("button", name="Take back").click()
    assert "turns" not in fragment(page)
    assert not page.locator("#conversation").is_visible()


def test_numbers_follow_the_slider(start_page):
    page = start_page

    def numbers():
        rows = page.locator("#steered .numbers div").all_inner_texts()
        return dict(re.split(r"\s*\n\s*", row.strip(), maxsplit=1) for row in rows)

    steered = numbers()
    slide(page, "mood:kind", 0)
    assert numbers()["KL per token"] == "0.00 nats"
    assert numbers()["flips"].startswith("0 of")
    assert steered["KL per token"] != "0.00 nats"
    slide(page, "mood:kind", 4)
    assert numbers() == steered


def test_pointing_at_a_token_shows_its_candidates(start_page, site):
    page = start_page
    token = tail_of(site, steer=steer(4))["choices"][0]["trimtab"]["trace"][1]
    column(page, "steered").nth(1).hover()
    inspector = page.locator("#inspector")
    assert "Token 2 of steered" in inspector.inner_text()
    rows = inspector.locator("tbody tr")
    best = max(token["candidates"], key=lambda each: each["logprob"])
    assert rows.first.locator("button").inner_text().replace("␣", " ") == best["text"]
    assert f"{best['rewards']['mood:kind']:.2f}" in rows.first.inner_text()
    page.get_by_role("button", name="Show all 20").click()
    page.mouse.move(0, 0)
    assert rows.count() == 20


def test_a_candidate_is_forced_and_the_text_forks(open_page, site):
    page = open_page()
    before = text_of(page, "unsteered")
    column(page, "unsteered").nth(2).click()
    other = page.locator("#inspector tbody tr:not(.written) button").first
    forced = other.inner_text().replace("␣", " ")
    other.click()
    idle(page)
    after = text_of(page, "unsteered")
    whole = tail_of(site, steer=steer())
    (ids,), tokens = whole["trimtab"]["prompt_token_ids"], whole["choices"][0]["trimtab"]["trace"]
    (fork,) = json.loads(fragment(page)["forks.unsteered"])
    assert fork["at"] == 2
    prefix = [*ids, *(token["token_id"] for token in tokens[:2]), fork["token"]]
    rest = tail_of(site, prompt=prefix, steer=steer(), max_tokens=5)["choices"][0]["trimtab"]["trace"]
    assert after == [*before[:2], forced, *(shown(token) for token in rest)]
    assert page.locator("#unsteered .forced").count() == 1
    page.get_by_role("button", name="Undo forks").click()
    idle(page)
    assert text_of(page, "unsteered") == before


def test_a_fork_under_a_new_steer_is_foretold_too(open_page):
    """Behind a fork the noise is that of the longer prompt."""
    page = open_page()
    column(page, "steered").nth(1).click()
    page.locator("#inspector tbody tr.written button").click()
    idle(page)
    slide(page, "mood:kind", -8)
    page.get_by_role("button", name="Write on from there").click()
    tells(page, "steered", "as the page foretold")


def test_a_link_shows_the_same_texts_forks_included(open_page):
    page = open_page()
    column(page, "steered").nth(1).click()
    page.locator("#inspector tbody tr:not(.written) button").first.click()
    idle(page)
    slide(page, "mood:calm", 3)
    page.wait_for_url(re.compile("calm=3"))
    again = open_page(page.url.partition("#")[2], wait=False)
    written(again)
    idle(again)
    assert again.locator("input[type=range][data-name='mood:calm']").input_value() == "3"
    for kind in ("unsteered", "prompted"):
        assert text_of(again, kind) == text_of(page, kind)
    assert text_of(again, "steered")[:2] == text_of(page, "steered")[:2]
    assert again.locator("#steered .forced").count() == 1


def test_a_broken_link_opens_all_the_same(open_page):
    broken = "temperature=hot&seed=NaN&forks.steered=%5B1&beta.none:x=3&measured=none,mood&colour=no"
    page = open_page(f"prompt=w1&max_tokens=2&{broken}")
    assert column(page, "steered").count() > 0
    assert fragment(page)["temperature"] == "1"
    assert fragment(page)["measured"] == "mood"


def test_a_link_with_an_impossible_fork_says_so(open_page):
    page = open_page(START + "&forks.unsteered=" + quote('[{"at":1,"token":9999,"steer":{}}]'))
    assert "no candidate" in tells(page, "unsteered", "forces token 9999")


def test_the_saved_page_works_without_the_server(open_page, browser, tmp_path):
    page = open_page()
    before = text_of(page, "steered")
    with page.expect_download() as started:
        page.get_by_role("button", name="Save as HTML").click()
    file = tmp_path / "trimtab.html"
    started.value.save_as(file)
    context = browser.new_context(offline=True)
    saved = context.new_page()
    faults = []
    saved.on("pageerror", lambda error: faults.append(str(error)))
    saved.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    saved.goto(file.as_uri())
    assert text_of(saved, "steered") == before
    slide(saved, "mood:kind", -6)
    assert "Would differ" in saved.locator("#steered .status").inner_text()
    assert not saved.locator("#write").is_visible()
    column(saved, "steered").nth(1).hover()
    assert "Token 2 of steered" in saved.locator("#inspector").inner_text()
    context.close()
    assert faults == []


def test_tokens_are_reached_and_forked_by_keys(open_page):
    page = open_page()
    column(page, "steered").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "Token 3 of steered" in page.locator("#inspector").inner_text()
    assert page.locator("#steered .token:focus").count() == 1
    page.keyboard.press("Enter")
    assert page.locator("#inspector tbody button:focus").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#steered .token:focus").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("forks.steered"))
    assert page.locator("#steered .forced").count() == 1


def test_every_control_has_a_name_and_focus_is_seen(start_page):
    page = start_page
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea, button')].filter((each) => !each.labels?.length"
        " && !each.ariaLabel && !each.textContent.trim()).map((each) => each.outerHTML)"
    )
    assert nameless == []
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_a_phone_shows_everything_in_its_width(open_page):
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    column(page, "steered").nth(1).tap()
    assert page.locator("#inspector tbody tr").count() > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    boxes = [page.locator(f"#{kind}").bounding_box() for kind in ("steered", "unsteered", "prompted")]
    assert boxes[0]["y"] < boxes[1]["y"] < boxes[2]["y"]
    assert {box["x"] for box in boxes} == {boxes[0]["x"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_on_every_colour_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    page.evaluate(
        "document.querySelectorAll('.token').forEach((each, i) => {"
        " each.className = i % 2 ? 'token low' : 'token high'; each.style.setProperty('--share', '100%');"
        " each.firstElementChild.style.transition = 'none'; })"
    )
    paper = luminance(page, "body", "backgroundColor")
    assert (paper > 0.5) == (scheme == "light")
    for selector in (".token.low .ink", ".token.high .ink"):
        ink, ground = luminance(page, selector, "color"), luminance(page, selector, "backgroundColor")
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 4.5


def test_low_and_high_rewards_have_different_colours(start_page):
    page = start_page
    assert page.locator(".token.low").count() > 0
    assert page.locator(".token.high").count() > 0
    low = luminance(page, ".token.low .ink", "backgroundColor")
    assert low != luminance(page, ".token.high .ink", "backgroundColor")


def test_a_search_grows_as_a_tree(open_page, site):
    page = open_page(START.replace("max_tokens=8", "max_tokens=3"))
    page.evaluate(
        "window.grown = []; new MutationObserver(() => window.grown.push(document.querySelectorAll('#search .branch')"
        ".length)).observe(document.querySelector('#search-steps'), { childList: true, subtree: true });"
    )
    page.get_by_label("Judge").select_option("+mood")
    page.get_by_label("Drafts per step").fill("8")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator("#search-status", has_text="taken back").wait_for()
    grown = page.evaluate("window.grown")
    assert grown[0] < grown[-1]
    steps = page.locator("#search-steps .step")
    assert steps.count() > 0
    assert page.locator("#search .branch.kept").count() >= steps.count()
    assert page.locator("#search .branch.taken").count() > 0
    asked = {
        "rewind": {"judge_rewards": {"mood": 1}, "similarity": "off", "iterations": 8, "fresh_iterations": 4},
        "max_tokens": 3,
        "temperature": 1,
    }
    assert page.locator("#search-text").inner_text().strip() == tail_of(site, **asked)["choices"][0]["text"].strip()


def test_a_fault_of_the_server_is_told_in_its_column(open_page):
    page = open_page()
    page.get_by_label("Text to continue").fill("w1 " * 200)
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator("#unsteered .status.wrong").wait_for()
    assert "tokens" in page.locator("#unsteered .status").inner_text()
    open_page.faults.clear()  # the browser notes the status of the answer


def test_texts_are_never_read_as_html(open_page):
    page = open_page(START.replace("w1+w2+w3", urlencode({"": "<img src=x onerror=alert(1)>"})[1:]))
    assert page.locator("img").count() == 0
    assert page.locator("#prompt").input_value().startswith("<img")
