import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from trimtab.cli.trees import MOST_BRANCHES, MOST_LEVELS, tree_of
from trimtab.frozen.memory import Spent
from trimtab.lm import LanguageModel
from trimtab.rewind.page import write_page
from trimtab.rewind.record import Branch, Commit
from trimtab.rewind.result import Rewound
from trimtab.rewind.search import Search
from trimtab.rewind.settings import RewindSettings

VOID = {"meta", "br", "hr", "img", "link", "input"}
LOADS = {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
ATTRIBUTES_THAT_LOAD = {"src", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """The elements of a page; every one that is opened has to be closed in turn."""

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


def leaf(text, value=0.0, kept=False, draft=" and so on.", score=0.0, visits=1, children=()):
    return Branch(text, 0.25, visits, value, draft, score, kept, tuple(children))


def commit(*branches, text=None):
    said = text or next(branch.text for branch in branches if branch.kept)
    return Commit(said, sum(branch.visits for branch in branches), 0.125, branches)


def walk(branches):
    for branch in branches:
        yield branch
        yield from walk(branch.children)


@pytest.fixture
def rewound(llama):
    def make(commits, text=None, prompt="You are", reason="eos", iterations=7):
        search = Search("w1", (5,), 0, 9, RewindSettings(), llama.decode)
        search.finish_reason, search.iterations, search.commits = reason, iterations, list(commits)
        found = Rewound(llama, search, (), Spent(12345, 67), 8.91)
        found.generation.prompt = prompt
        found.generation.text = "".join(each.text for each in commits) if text is None else text
        return found

    return make


@pytest.fixture
def neighbours():
    ahead = leaf(" and helpful", 0.9, draft=" people", score=0.9)
    deeper = leaf(" awful", -1.0, draft=" and loud", score=-1.0)
    return [
        commit(
            leaf(" kind", 0.8, kept=True, draft=" to us", score=0.75, visits=5, children=[ahead]),
            leaf(" so", -0.6, draft=" stupid", score=-0.25, visits=3, children=[deeper]),
        ),
        commit(leaf(" people.", 0.5, kept=True, draft="", score=0.5)),
    ]


@pytest.fixture
def page_of(tmp_path):
    def write(*results, **about):
        write_page(results, tmp_path / "page.html", about)
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return write


def terminal(result, width=200):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tree_of(result))
    return console.export_text()


def labels(tree):
    return [tree.label, *(label for child in tree.children for label in labels(child))]


def style_of(text, words):
    start = text.plain.index(words)
    return " ".join(str(span.style) for span in text.spans if span.start <= start and span.end >= start + len(words))


@pytest.mark.parametrize("text", ["<p><b>x</p></b>", "<p>x", "<p>x</p></div>"])
def test_the_parser_of_these_tests_refuses_what_is_not_nested(text):
    with pytest.raises(AssertionError, match="close"):
        Page(text)


def test_everything_that_a_search_tried_is_on_the_page(page_of, llama):
    settings = RewindSettings(max_new_tokens=6, top_k=10, most_children=10, iterations=12, fresh_iterations=5)
    result = LanguageModel(llama).rewind(
        "w1 w2", lambda prompt, text: -0.25 if "w3" in text else 0.5 if "w2" in text else 0.0, settings=settings, seed=0
    )
    page = page_of(result)
    steps = page.having("step")
    assert len(steps) == len(result.commits) > 1
    for step, recorded in zip(steps, result.commits, strict=True):
        cards, branches = page.having("branch", step), list(walk(recorded.branches))
        assert len(cards) == len(branches)
        for card, branch in zip(cards, branches, strict=True):
            assert all_text(page.having("words", card)[0]) == (branch.text or "no text")
            assert all_text(card.find("p")).endswith((branch.text or "no text") + (branch.draft or ""))
            assert figures(card) == {
                "judge": f"{branch.score:+.2f}".replace("-", "−") if branch.score else "0.00",
                "mean": f"{branch.value:+.2f}".replace("-", "−") if branch.value else "0.00",
                "visits": str(branch.visits),
                "prior": f"{100 * branch.prior:.0f}%",
            }


def figures(card):
    return {each.find("dt").text: all_text(each.find("dd")).strip() for each in card.find("dl")}


def test_what_was_taken_back_is_struck_through_and_what_was_said_is_not(page_of, rewound, neighbours):
    page = page_of(rewound(neighbours))
    assert [all_text(each) for each in page.root.iter("del")][1:] == [" so stupid", " awful and loud"]
    cards = page.having("branch", page.having("step")[0])
    assert [card.get("class").split()[1] for card in cards] == ["said", "ahead", "taken", "taken"]
    assert [all_text(each) for each in cards[0].find("p").iter("ins")] == [" kind"]
    first_level = page.having("branches", page.having("step")[0])[0]
    open_struck = [card.find("p").find("del") for card in first_level if card.find("p").find("del") is not None]
    assert [all_text(each) for each in open_struck] == [" so stupid"]
    assert [all_text(details.find("summary")) for details in page.root.iter("details")] == [
        "1 branch below, 1 draft judged"
    ] * 2


def test_a_draft_that_ends_a_search_deep_in_the_tree_leaves_the_way_to_it_unstruck(page_of, rewound):
    """A budget ends a search with the best draft, behind a branch that is not at the root."""
    deep = leaf(" kind", 1.0, kept=True, draft=" people", score=1.0)
    branches = [leaf(" so", visits=2, kept=True, children=[deep, leaf(" vile", -1.0)]), leaf(" bad", -1.0)]
    result = rewound(
        [replace(commit(*branches, text=" so kind people"), final=True)], text=" so kind people", reason="budget"
    )
    page = page_of(result)
    assert [card.get("class").split()[1] for card in page.having("branch")] == ["said", "said", "taken", "taken"]
    assert all_text(page.having("answer", page.having("step")[0])[0]) == " so kind people"
    struck = {label.plain.split()[1]: "strike" in style_of(label, label.plain.split()[1]) for label in below(result)}
    assert struck == {"so": False, "kind": False, "vile": True, "bad": True}


def below(result):
    """The labels of the branches, without those of the prompt and the commit."""
    return labels(tree_of(result))[2:]


def test_the_numbers_and_what_the_page_is_about(page_of, rewound, neighbours):
    page = page_of(rewound(neighbours), judge="self: <harmless>", model="SmolLM2")
    (numbers,) = page.having("numbers")
    assert {each.find("dt").text: all_text(each.find("dd")) for each in numbers} == {
        "drafts judged": "7",
        "taken back": "2",
        "ended by": "eos",
        "tokens encoded": "12,345",
        "forward calls": "67",
        "seconds": "8.9",
    }
    rows = [(row.find("th").text, row.find("td").text) for row in page.root.iter("tr")]
    assert rows == [("judge", "self: <harmless>"), ("model", "SmolLM2")]


def test_the_text_leads_to_the_steps_that_wrote_it(page_of, rewound, neighbours):
    page = page_of(rewound(neighbours), rewound(neighbours, prompt="We are"))
    ids = [step.get("id") for step in page.having("step")]
    assert len(set(ids)) == 4
    links = list(page.root.iter("a"))
    assert [link.get("href") for link in links] == [f"#{each}" for each in ids]
    assert [all_text(link) for link in links] == [" kind2", " people."] * 2
    assert [each.text for each in page.having("prompt")] == ["You are"] * 3 + ["We are"] * 3
    assert [all_text(each) for each in page.having("before")] == ["", " kind"] * 2


def test_pieces_of_a_text_whose_tokens_hold_no_spaces(page_of, rewound):
    commits = [commit(leaf(word, kept=True)) for word in ("a", "b", "a", "\n\nHuman:")]
    page = page_of(rewound(commits, text="a b a"))
    assert [all_text(link) for link in page.root.iter("a")] == ["a", " b", " a", "no text"]


def test_a_long_text_so_far_is_cut_at_its_beginning(page_of, rewound):
    commits = [commit(leaf("x" * 300, kept=True)), commit(leaf("y", kept=True))]
    step = page_of(rewound(commits)).having("step")[1]
    assert all_text(step.find("p")) == "…" + "x" * 240 + "y"


def test_what_models_write_is_text(page_of, rewound):
    evil = '<script>alert("&amp;")</script>'
    commits = [commit(leaf(evil, kept=True, draft=evil), leaf("</del></li>", draft="<!-- $text ${style}"))]
    page = page_of(rewound(commits, prompt="'\"><b onclick=x>"), judge=evil)
    assert "script" not in {each.tag for each in page.root.iter()}
    assert page.having("prompt")[0].text == "'\"><b onclick=x>"
    words, other = page.having("branch")
    assert all_text(words.find("p")) == f"said {evil}{evil}"
    assert all_text(other.find("p")) == "taken back </del></li><!-- $text ${style}"


def test_characters_that_cannot_be_seen_are_named(page_of, rewound):
    commits = [commit(leaf("a\nb", kept=True), leaf("\x1b[2J\u202e", draft=None, score=None), leaf("👩\u200d🔬\ud800"))]
    page = page_of(rewound(commits))
    shown = [all_text(card.find("p")).partition(" ")[2] for card in page.having("branch")]
    assert shown[0].startswith("a↵\nb")
    assert shown[1] == "back U+001B[2JU+202E"
    assert shown[2].startswith("back 👩\u200d🔬U+D800")
    plain = terminal(rewound(commits))
    assert "a↵b" in plain
    assert "U+001B[2JU+202E" in plain
    assert "\x1b" not in plain


def test_the_page_needs_nothing_else(page_of, rewound, neighbours, tmp_path):
    page = page_of(rewound(neighbours), judge="self")
    text = (tmp_path / "page.html").read_text(encoding="utf-8").lower()
    assert not [each for each in ("//", "url(", "@import", "javascript:") if each in text]
    assert not LOADS & {each.tag for each in page.root.iter()}
    assert not ATTRIBUTES_THAT_LOAD & {name for each in page.root.iter() for name in each.attrib}
    assert all(each.get("href").startswith("#") for each in page.root.iter("a"))
    assert [each.tag for each in page.root.iter() if each.tag in ("h1", "h2", "h3")][:2] == ["h1", "h2"]
    assert "prefers-color-scheme: dark" in text


def test_bars_go_left_below_0_and_right_above(page_of, rewound):
    commits = [commit(leaf("a", 0.5, kept=True, score=1.0), leaf("b", -0.25, score=-1.5))]
    page = page_of(rewound(commits))
    found = [(bar.get("class"), bar.get("style")) for card in page.having("branch") for bar in page.having("bar", card)]
    assert found == [
        ("bar high", "--share:100%"),
        ("bar high", "--share:50%"),
        ("bar low", "--share:100%"),
        ("bar low", "--share:25%"),
    ]


def test_a_search_that_was_stopped_before_its_first_draft(page_of, rewound):
    page = page_of(rewound([], text="", reason="interrupted", iterations=0))
    assert not page.having("step")
    assert all_text(page.having("answer")[0]) == "no text"


def test_a_page_appears_whole_or_not_at_all(rewound, neighbours, tmp_path):
    taken = tmp_path / "folder"
    taken.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_page([rewound(neighbours)], taken, {})
    assert list(tmp_path.iterdir()) == [taken]
    write_page([rewound(neighbours)], tmp_path / "new" / "page.html", {})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


def test_the_tree_shows_what_was_committed_and_what_was_taken_back(rewound, neighbours):
    result = rewound(neighbours)
    prompt, kind, so, awful, people = labels(tree_of(result))
    assert prompt.plain == "You are"
    assert str(prompt.style) == "dim"
    assert kind.plain.split() == ["+0.80", "kind", "5", "visits,", "kept"]
    assert people.plain.split() == ["+0.50", "people.", "1", "visit,", "kept"]
    assert "bold green" in style_of(kind, " kind")
    assert so.plain.split() == ["−0.60", "so", "stupid", "3", "visits,", "judged", "−0.25,", "taken", "back"]
    assert "strike" in style_of(so, " so")
    assert "dim strike" in style_of(so, " stupid")
    assert "strike" not in style_of(kind, " kind")
    assert awful.plain.split()[1:4] == ["awful", "and", "loud"]
    assert style_of(so, "−0.60") != style_of(awful, "−1.00")
    plain = terminal(result)
    assert plain.index(" kind") < plain.index(" so stupid") < plain.index(" awful and loud") < plain.index(" people.")


def test_the_tree_does_not_read_markup(rewound):
    commits = [commit(leaf("[red]x[/red] :smile:", kept=True), leaf("[/]", draft="[bold]"))]
    plain = terminal(rewound(commits, prompt="[link=y]z[/link]"))
    for text in ("[red]x[/red] :smile:", "[/][bold]", "[link=y]z[/link]"):
        assert text in plain


def test_the_tree_says_how_much_it_leaves_out(rewound):
    chain = leaf("level0")
    for level in range(1, MOST_LEVELS + 2):
        chain = leaf(f"level{level}", children=[chain])
    others = [leaf(f"other{number}") for number in range(MOST_BRANCHES + 4)]
    plain = terminal(rewound([commit(leaf("said", kept=True), chain, *others)]))
    assert plain.count("level") == MOST_LEVELS
    assert plain.count("… and 1 more") == 1
    assert plain.count("other") == MOST_BRANCHES - 1
    assert plain.count("… and 5 more") == 1
