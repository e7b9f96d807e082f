"""Searches as trees in the terminal: what was said, and beside it what was taken back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from trimtab.cli.colours import colour
from trimtab.rewind.page import counted, pieces, signed, stand_in

if TYPE_CHECKING:
    from trimtab.rewind.record import Branch, Commit
    from trimtab.rewind.result import Rewound

MOST_BRANCHES = 8  # of a node
MOST_LEVELS = 3  # below a commit
NO_TEXT = "(no text)"


def tree_of(result: "Rewound") -> Tree:
    """The prompt, below it what was committed step by step, and below each step what was tried instead."""
    tree = Tree(Text(legible(result.prompt), style="dim"))
    for commit, said in zip(result.commits, pieces(result), strict=True):
        others = [branch for branch in commit.branches if commit.final or not branch.kept]
        _add(tree.add(_committed(commit, said)), others, MOST_LEVELS)
    return tree


def legible(text: str) -> str:
    """A text on one line, in which characters that cannot be seen are named, those that command a terminal too."""
    return "".join(stand_in(character) or character for character in text)


def _committed(commit: "Commit", said: str) -> Text:
    """What was committed, with the figures of its branch, or of the step if there is none."""
    source = next((branch for branch in commit.branches if branch.kept), commit)
    words = (legible(said) or NO_TEXT, "bold green")
    return Text.assemble(_chip(source.value), words, (f"  {counted(source.visits, 'visit')}, kept", "dim"))


def _add(tree: Tree, branches: "Sequence[Branch]", levels: int) -> None:
    """Branches, as many and as deep as there is room for."""
    shown = branches[:MOST_BRANCHES] if levels else ()
    for branch in shown:
        _add(tree.add(_label(branch)), branch.children, levels - 1)
    if len(branches) > len(shown):
        tree.add(Text(f"… and {len(branches) - len(shown)} more", style="dim"))


def _label(branch: "Branch") -> Text:
    """The words of a branch and the draft behind it, struck through unless they were said."""
    struck = "" if branch.kept else "strike"
    judged = "" if branch.score is None else f", judged {signed(branch.score)}"
    return Text.assemble(
        _chip(branch.value),
        (legible(branch.text) or NO_TEXT, struck),
        (legible(branch.draft or ""), f"dim {struck}"),
        (f"  {counted(branch.visits, 'visit')}{judged}{'' if branch.kept else ', taken back'}", "dim"),
    )


def _chip(value: float) -> Text:
    """A value on its colour, from red at −1 to green at 1."""
    return Text.assemble((f" {signed(value):>5} ", f"black on {colour((value + 1) / 2)}"), " ")
