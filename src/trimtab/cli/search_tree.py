"""Searches as trees in the terminal: committed text in green, branches that were taken back struck through."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from trimtab.cli.console import colour
from trimtab.data.visible import count_of, one_line
from trimtab.models.codec import prompt_text
from trimtab.rewind.page import committed_texts, signed

if TYPE_CHECKING:
    from trimtab.rewind.record import Branch, Commit
    from trimtab.rewind.result import SearchResult

MAX_BRANCHES = 8  # per node
MAX_LEVELS = 3  # below a commit
NO_TEXT = "(no text)"


def tree_of(result: "SearchResult") -> Tree:
    """Return a tree: the prompt, below it each committed text, and below that the branches tried instead of it."""
    tree = Tree(Text(one_line(prompt_text(result.prompt)), style="dim"))
    for commit, text in zip(result.commits, committed_texts(result), strict=True):
        others = [branch for branch in commit.branches if commit.final or not branch.kept]
        _add_branches(tree.add(_committed(commit, text)), others, MAX_LEVELS)
    return tree


def _committed(commit: "Commit", text: str) -> Text:
    """Return a committed text with the value and the visits of its branch, or of the step if it has no branch."""
    source = next((branch for branch in commit.branches if branch.kept), commit)
    words = (one_line(text) or NO_TEXT, "bold green")
    return Text.assemble(_chip(source.value), words, (f"  {count_of(source.visits, 'visit')}, kept", "dim"))


def _add_branches(tree: Tree, branches: "Sequence[Branch]", levels: int) -> None:
    """Add at most MAX_BRANCHES branches per node, to a depth of `levels`."""
    shown = branches[:MAX_BRANCHES] if levels else ()
    for branch in shown:
        _add_branches(tree.add(_label(branch)), branch.children, levels - 1)
    if len(branches) > len(shown):
        tree.add(Text(f"… and {len(branches) - len(shown)} more", style="dim"))


def _label(branch: "Branch") -> Text:
    """Return the text of a branch and its draft, struck through if the branch was taken back."""
    struck = "" if branch.kept else "strike"
    judged = "" if branch.score is None else f", judged {signed(branch.score)}"
    return Text.assemble(
        _chip(branch.value),
        (one_line(branch.text) or NO_TEXT, struck),
        (one_line(branch.draft or ""), f"dim {struck}"),
        (f"  {count_of(branch.visits, 'visit')}{judged}{'' if branch.kept else ', taken back'}", "dim"),
    )


def _chip(value: float) -> Text:
    """Return a value on its colour, from red at −1 to green at 1."""
    return Text.assemble((f" {signed(value):>5} ", f"black on {colour((value + 1) / 2)}"), " ")
