"""The HTML page of searches."""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from search_results import branch, commit, early_end, search_result, subtree, two_commits
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.rewind.page import MAX_CONTEXT, write_page
from trimtab.rewind.rewind_settings import RewindSettings

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADS = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
ATTRIBUTES_THAT_LOAD = {"src", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """The elements of a page. Parsing fails unless every element is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.tree, self.open = ET.TreeBuilder(), []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.root = self.tree.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.tree.end(tag)
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.tree.end(self.open.pop())

    def handle_data(self, data):
        if self.open:
            self.tree.data(data)

    def having(self, kind, within=None):
        return [each for each in (within or self.root).iter() if kind in each.get("class", "").split()]


def all_text(element):
    return "".join(element.itertext())


@pytest.fixture
def result_of(llama):
    return lambda commits, **changes: search_result(llama.codec, commits, **changes)


@pytest.fixture
def page_of(tmp_path):
    def write(*results):
        write_page(results, tmp_path / "page.html")
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return write


@pytest.mark.parametrize("text", ["<p><b>x</p></b>", "<p>x", "<p>x</p></div>"])
def test_the_test_parser_rejects_unclosed_elements(text):
    with pytest.raises(AssertionError, match="close"):
        Page(text)


def test_the_page_shows_every_branch_of_a_search_with_its_numbers(page_of, llama):
    settings = RewindSettings(max_new_tokens=6, top_k=10, max_children=10, iterations=12, fresh_iterations=5)
    result = LanguageModel(TorchEngine(llama)).rewind(
        "w1 w2",
        lambda prompt, text: 0.375 if "w3" in text else 0.75 if "w2" in text else 0.5,
        settings=settings,
        seed=0,
    )
    page = page_of(result)
    steps = page.having("step")
    assert len(steps) == len(result.commits) > 1
    for step, recorded in zip(steps, result.commits, strict=True):
        cards, branches = page.having("branch", step), list(subtree(recorded.branches))
        assert len(cards) == len(branches)
        for card, tried in zip(cards, branches, strict=True):
            assert all_text(page.having("words", card)[0]) == (tried.text or "no text")
            assert all_text(card.find("p")).endswith((tried.text or "no text") + (tried.draft or ""))
            assert numbers_of(card) == {
                "judge": f"{tried.score:+.2f}".replace("-", "−") if tried.score else "0.00",
                "mean": f"{tried.value:+.2f}".replace("-", "−") if tried.value else "0.00",
                "visits": str(tried.visits),
                "prior": f"{100 * tried.prior:.0f}%",
            }


def numbers_of(card):
    return {each.find("dt").text: all_text(each.find("dd")).strip() for each in card.find("dl")}


def test_rejected_branches_are_struck_through_and_kept_ones_are_not(page_of, result_of):
    page = page_of(result_of(two_commits()))
    assert [all_text(each) for each in page.root.iter("del")][1:] == [" so stupid", " awful and loud"]
    cards = page.having("branch", page.having("step")[0])
    assert [card.get("class").split()[1] for card in cards] == ["kept", "undecided", "taken", "taken"]
    assert [all_text(each) for each in cards[0].find("p").iter("ins")] == [" kind"]
    first_level = page.having("branches", page.having("step")[0])[0]
    open_struck = [card.find("p").find("del") for card in first_level if card.find("p").find("del") is not None]
    assert [all_text(each) for each in open_struck] == [" so stupid"]
    assert [all_text(details.find("summary")) for details in page.root.iter("details")] == [
        "1 branch below, 1 draft judged"
    ] * 2


def test_branches_that_lead_to_the_best_draft_of_an_early_end_are_kept(page_of, result_of):
    page = page_of(result_of([early_end()], text=" so kind people", reason="budget"))
    assert [card.get("class").split()[1] for card in page.having("branch")] == ["kept", "kept", "taken", "taken"]
    assert all_text(page.having("answer", page.having("step")[0])[0]) == " so kind people"


def test_the_page_shows_the_cost_and_what_made_it(page_of, result_of):
    record = {"judge": {"judge": "self: <harmless>"}, "model": "SmolLM2", "base_fingerprint": "0123", "seed": 5}
    page = page_of(*(result_of(two_commits(), provenance=record | {"seed": seed}) for seed in (5, 7)))
    numbers, _ = page.having("numbers")
    assert {each.find("dt").text: all_text(each.find("dd")) for each in numbers} == {
        "drafts judged": "7",
        "taken back": "2",
        "ended by": "eos",
        "tokens encoded": "12,345",
        "forward calls": "67",
        "seconds": "8.9",
    }
    (about,) = page.having("about")
    assert about.find("h2").text == "How this was made"
    rows = {row.find("th").text: row.find("td").text for row in about.iter("tr")}
    assert rows["judge"] == "judge self: <harmless>"
    assert rows["model"] == "SmolLM2, weights 0123"
    assert rows["seed"] == "5, 7"


def test_each_part_of_the_text_links_to_its_step(page_of, result_of):
    page = page_of(result_of(two_commits()), result_of(two_commits(), prompt="We are"))
    ids = [step.get("id") for step in page.having("step")]
    assert len(set(ids)) == 4
    links = list(page.root.iter("a"))
    assert [link.get("href") for link in links] == [f"#{each}" for each in ids]
    assert [all_text(link) for link in links] == [" kind2", " people."] * 2
    assert [each.text for each in page.having("prompt")] == ["You are"] * 3 + ["We are"] * 3
    assert [all_text(each) for each in page.having("before")] == ["", " kind"] * 2


def test_links_cover_the_whole_text_if_tokens_hold_no_spaces(page_of, result_of):
    commits = [commit(branch(word, kept=True)) for word in ("a", "b", "a", "\n\nHuman:")]
    page = page_of(result_of(commits, text="a b a"))
    assert [all_text(link) for link in page.root.iter("a")] == ["a", " b", " a", "no text"]


def test_earlier_text_of_a_step_is_cut_at_its_beginning(page_of, result_of):
    commits = [commit(branch("x" * 300, kept=True)), commit(branch("y", kept=True))]
    step = page_of(result_of(commits)).having("step")[1]
    assert all_text(step.find("p")) == "…" + "x" * MAX_CONTEXT + "y"


def test_html_in_model_output_is_escaped(page_of, result_of):
    evil = '<script>alert("&amp;")</script>'
    commits = [commit(branch(evil, kept=True, draft=evil), branch("</del></li>", draft="<!-- $text ${style}"))]
    page = page_of(result_of(commits, prompt="'\"><b onclick=x>", provenance={"judge": {"judge": evil}}))
    assert "script" not in {each.tag for each in page.root.iter()}
    assert page.having("prompt")[0].text == "'\"><b onclick=x>"
    words, other = page.having("branch")
    assert all_text(words.find("p")) == f"kept {evil}{evil}"
    assert all_text(other.find("p")) == "taken back </del></li><!-- $text ${style}"


def test_invisible_characters_are_named(page_of, result_of):
    commits = [
        commit(branch("a\nb", kept=True), branch("\x1b[2J\u202e", draft=None, score=None), branch("👩\u200d🔬\ud800"))
    ]
    page = page_of(result_of(commits))
    shown = [all_text(card.find("p")).partition(" ")[2] for card in page.having("branch")]
    assert shown[0].startswith("a↵\nb")
    assert shown[1] == "back U+001B[2JU+202E"
    assert shown[2].startswith("back 👩\u200d🔬U+D800")


def test_the_page_loads_no_other_file(page_of, result_of, tmp_path):
    page = page_of(result_of(two_commits(), provenance={"model": "smollm2"}))
    text = (tmp_path / "page.html").read_text(encoding="utf-8").lower()
    assert not [each for each in ("//", "url(", "@import", "javascript:") if each in text]
    assert not LOADS & {each.tag for each in page.root.iter()}
    assert not ATTRIBUTES_THAT_LOAD & {name for each in page.root.iter() for name in each.attrib}
    assert all(each.get("href").startswith("#") for each in page.root.iter("a"))
    assert [each.tag for each in page.root.iter() if each.tag in ("h1", "h2", "h3")][:2] == ["h1", "h2"]
    assert "prefers-color-scheme: dark" in text


def test_bars_go_left_below_0_and_right_above_0(page_of, result_of):
    commits = [commit(branch("a", 0.5, kept=True, score=1.0), branch("b", -0.25, score=-1.5))]
    page = page_of(result_of(commits))
    found = [(bar.get("class"), bar.get("style")) for card in page.having("branch") for bar in page.having("bar", card)]
    assert found == [
        ("bar high", "--share:100%"),
        ("bar high", "--share:50%"),
        ("bar low", "--share:100%"),
        ("bar low", "--share:25%"),
    ]


def test_a_search_without_any_draft_gives_a_page_without_steps(page_of, result_of):
    page = page_of(result_of([], text="", reason="interrupted", iterations=0))
    assert not page.having("step")
    assert all_text(page.having("answer")[0]) == "no text"


def test_a_page_is_written_completely_or_not_at_all(result_of, tmp_path):
    taken = tmp_path / "folder"
    taken.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_page([result_of(two_commits())], taken)
    assert list(tmp_path.iterdir()) == [taken]
    write_page([result_of(two_commits())], tmp_path / "new" / "page.html")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
