"""Searches as trees in the terminal."""

import io

import pytest
from rich.console import Console

from search_results import branch, commit, early_end, search_result, two_commits
from trimtab.cli.search_tree import MAX_BRANCHES, MAX_LEVELS, tree_of


@pytest.fixture
def result_of(llama):
    return lambda commits, **changes: search_result(llama.codec, commits, **changes)


def printed(result, width=200):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tree_of(result))
    return console.export_text()


def labels(tree):
    return [tree.label, *(label for child in tree.children for label in labels(child))]


def style_of(text, words):
    start = text.plain.index(words)
    return " ".join(str(span.style) for span in text.spans if span.start <= start and span.end >= start + len(words))


def test_the_tree_shows_committed_text_and_rejected_branches(result_of):
    result = result_of(two_commits())
    prompt, kind, so, awful, people = labels(tree_of(result))
    assert prompt.plain == "You are"
    assert str(prompt.style) == "dim"
    assert kind.plain.split() == ["+0.80", "kind", "5", "visits,", "kept"]
    assert people.plain.split() == ["+0.50", "people.", "1", "visit,", "kept"]
    assert so.plain.split() == ["−0.60", "so", "stupid", "3", "visits,", "judged", "−0.25,", "taken", "back"]
    assert awful.plain.split()[1:4] == ["awful", "and", "loud"]
    plain = printed(result)
    assert plain.index(" kind") < plain.index(" so stupid") < plain.index(" awful and loud") < plain.index(" people.")


def test_styles_separate_kept_text_from_rejected_branches(result_of):
    _, kind, so, awful, _ = labels(tree_of(result_of(two_commits())))
    assert "bold green" in style_of(kind, " kind")
    assert "strike" not in style_of(kind, " kind")
    assert "strike" in style_of(so, " so")
    assert "dim strike" in style_of(so, " stupid")
    assert style_of(so, "−0.60") != style_of(awful, "−1.00")


def test_branches_that_lead_to_the_best_draft_of_an_early_end_are_not_struck_through(result_of):
    result = result_of([early_end()], text=" so kind people", reason="budget")
    shown = labels(tree_of(result))[2:]  # without the prompt and the commit
    struck = {label.plain.split()[1]: "strike" in style_of(label, label.plain.split()[1]) for label in shown}
    assert struck == {"so": False, "kind": False, "vile": True, "bad": True}


def test_the_tree_shows_the_text_of_a_conversation(result_of):
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert "Be kind." in printed(result_of(two_commits(), prompt=prompt))


def test_text_is_not_read_as_markup(result_of):
    commits = [commit(branch("[red]x[/red] :smile:", kept=True), branch("[/]", draft="[bold]"))]
    plain = printed(result_of(commits, prompt="[link=y]z[/link]"))
    for text in ("[red]x[/red] :smile:", "[/][bold]", "[link=y]z[/link]"):
        assert text in plain


def test_control_characters_are_named_and_not_sent_to_the_terminal(result_of):
    commits = [commit(branch("a\nb", kept=True), branch("\x1b[2J\u202e", draft=None, score=None))]
    plain = printed(result_of(commits))
    assert "a↵b" in plain
    assert "<U+001B>[2J<U+202E>" in plain
    assert "\x1b" not in plain


def test_the_tree_counts_the_branches_that_it_leaves_out(result_of):
    chain = branch("level0")
    for level in range(1, MAX_LEVELS + 2):
        chain = branch(f"level{level}", children=[chain])
    others = [branch(f"other{number}") for number in range(MAX_BRANCHES + 4)]
    plain = printed(result_of([commit(branch("said", kept=True), chain, *others)]))
    assert plain.count("level") == MAX_LEVELS
    assert plain.count("… and 1 more") == 1
    assert plain.count("other") == MAX_BRANCHES - 1
    assert plain.count("… and 5 more") == 1
