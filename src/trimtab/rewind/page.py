"""Searches as one HTML page: every branch and draft, its score, and whether it was kept or taken back."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from trimtab.data.outputs import write_whole
from trimtab.data.visible import code_point, count_of, is_hidden
from trimtab.models.codec import prompt_text
from trimtab.rewind.page_templates import ABOUT, ARTICLE, BELOW, BRANCH, PAGE, STEP
from trimtab.rewind.provenance_rows import provenance_rows
from trimtab.rewind.record import Branch, Commit
from trimtab.rewind.result import SearchResult

STYLES = [Path(__file__).with_name(name) for name in ("tree.css", "page.css")]
MAX_CONTEXT = 240  # characters of earlier text that a step repeats


def write_page(results: Sequence[SearchResult], path: Path) -> None:
    """Write searches, and what made them, as one HTML file without scripts and without links to other files.

    Args:
        results: the searches, in the order of the page.
        path: the file. Its folder is created; the file appears complete or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_whole(path, page(results))


def page(results: Sequence[SearchResult]) -> str:
    """Return the content of the file. Arguments as in `write_page`."""
    about = provenance_rows([result.provenance for result in results])
    return PAGE.substitute(
        style="".join(path.read_text(encoding="utf-8") for path in STYLES),
        about=_about(about) if about else "",
        lowest=signed(-1),
        highest=signed(1),
        articles="\n".join(_article(result, place, len(results)) for place, result in enumerate(results, start=1)),
    )


def committed_texts(result: SearchResult) -> list[str]:
    """Return the part of the text that each commit added; joined, they are the text.

    They may differ from `Commit.text`: tokens decoded alone may lack a space, and a stop string may cut the last part.
    """
    rest, found = result.text, []
    for commit in result.commits[:-1]:
        start = rest.find(commit.text)
        end = len(commit.text) + (start if start > 0 and rest[:start].isspace() else 0)
        found.append(rest[:end])
        rest = rest[end:]
    return [*found, rest] if result.commits else []


def signed(value: float) -> str:
    """Return a score with its sign, such as −0.50; 0 has no sign."""
    text = f"{value:+.2f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def visible_name(character: str) -> str | None:
    """Return a visible name for a hidden character; None for a visible one."""
    if not is_hidden(character):
        return None
    return "↵" if character == "\n" else code_point(character)


def _about(about: Mapping[str, str]) -> str:
    rows = (
        f'<tr><th scope="row">{_visible(name)}</th><td>{_visible(value)}</td></tr>' for name, value in about.items()
    )
    return ABOUT.substitute(rows="\n".join(rows))


def _article(result: SearchResult, place: int, total: int) -> str:
    name, prompt, texts = f"text-{place}", prompt_text(result.prompt), committed_texts(result)
    steps = [
        _step(commit, f"{name}-step-{number}", number, prompt, texts[:number])
        for number, commit in enumerate(result.commits, start=1)
    ]
    return ARTICLE.substitute(
        title=f"Text {place} of {total}" if total > 1 else "The text",
        prompt=_visible(prompt),
        text=_linked(result.commits, texts, name) or _words(result.text),
        numbers=_numbers(result),
        steps="\n".join(steps),
    )


def _linked(commits: Sequence[Commit], texts: Sequence[str], name: str) -> str:
    """Return the text: each commit's part links to its step and shows how many drafts were taken back there."""
    links = []
    for place, (commit, text) in enumerate(zip(commits, texts, strict=True), start=1):
        back = commit.taken_back
        mark = f'<sup title="{count_of(back, "draft")} taken back">{back}</sup>' if back else ""
        links.append(f'<a href="#{name}-step-{place}">{_words(text)}{mark}</a>')
    return "".join(links)


def _numbers(result: SearchResult) -> str:
    return _facts(
        {
            "drafts judged": str(result.iterations),
            "taken back": str(result.taken_back),
            "ended by": _visible(result.finish_reason),
            "tokens encoded": f"{result.usage.tokens:,}",
            "forward calls": f"{result.usage.calls:,}",
            "seconds": f"{result.seconds:,.1f}",
        },
        "numbers",
    )


def _step(commit: Commit, place: str, number: int, prompt: str, texts: Sequence[str]) -> str:
    """Return the section of one commit; the last of `texts` is its own part of the text."""
    back, before = commit.taken_back, "".join(texts[:-1])
    return STEP.substitute(
        place=place,
        number=number,
        count=f"{count_of(back, 'draft')} taken back" if back else "nothing taken back",
        prompt=_tail(prompt, MAX_CONTEXT - len(before)),
        before=_tail(before, MAX_CONTEXT),
        kept=_words(texts[-1]),
        facts=_facts({"mean": _valued(commit.value), "visits": str(commit.visits)}),
        first=_first_draft(commit) if number == 1 else "",
        branches="\n".join(_branch(branch, below_kept=False, final=commit.final) for branch in commit.branches),
    )


def _first_draft(commit: Commit) -> str:
    """Return the draft that the model wrote before any branch."""
    if commit.draft is None or commit.score is None:
        return ""
    tag = "ins" if commit.text == commit.draft else "del"
    words = f'<{tag}><span class="draft">{_visible(commit.draft)}</span></{tag}>'
    return f'<p class="text"><span class="status">first draft</span> {words} {_valued(commit.score)}</p>'


def _branch(branch: Branch, below_kept: bool, final: bool) -> str:
    status = "kept" if branch.kept else "undecided" if below_kept else "taken back"
    below_kept = (below_kept or branch.kept) and not final
    return BRANCH.substitute(
        kind=status.partition(" ")[0],
        side=_side(branch.value),
        share=_share(branch.value),
        status=status,
        words=_branch_words(branch, "ins" if branch.kept else "span" if status == "undecided" else "del"),
        facts=_branch_facts(branch),
        below=_below(branch.children, below_kept, final) if branch.children else "",
    )


def _branch_words(branch: Branch, tag: str) -> str:
    """Return the text of a branch and its draft. Of a kept branch, only the text is marked as kept."""
    words = f'<b class="words">{_words(branch.text)}</b>'
    draft = f'<span class="draft">{_visible(branch.draft)}</span>' if branch.draft else ""
    return f"<{tag}>{words}</{tag}>{draft}" if tag == "ins" else f"<{tag}>{words}{draft}</{tag}>"


def _branch_facts(branch: Branch) -> str:
    return _facts(
        {
            "judge": "not judged" if branch.score is None else _valued(branch.score),
            "mean": _valued(branch.value),
            "visits": str(branch.visits),
            "prior": f"{branch.prior:.0%}",
        }
    )


def _below(children: Sequence[Branch], below_kept: bool, final: bool) -> str:
    drafts = sum(child.judged for child in children)
    return BELOW.substitute(
        count=f"{count_of(len(children), 'branch')} below, {count_of(drafts, 'draft')} judged",
        branches="\n".join(_branch(child, below_kept, final) for child in children),
    )


def _facts(facts: Mapping[str, str], kind: str = "facts") -> str:
    """Return a list of names and values; the values are HTML."""
    rows = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<dl class="{kind}">' + "".join(rows) + "</dl>"


def _valued(value: float) -> str:
    """Return a number with a bar: red and to the left below 0, green and to the right above."""
    bar = f'<span class="bar {_side(value)}" style="--share:{_share(value)}" aria-hidden="true"><i></i></span>'
    return f"{signed(value)} {bar}"


def _side(value: float) -> str:
    return "low" if value < 0 else "high"


def _share(value: float) -> str:
    return f"{min(abs(value), 1):.0%}"


def _tail(text: str, limit: int) -> str:
    """Return the last `limit` characters."""
    return _visible(text if len(text) <= limit else "…" + text[-limit:] if limit > 0 else "")


def _words(text: str) -> str:
    """Return a text as HTML, or a mark if it is empty, as the text of a special token is."""
    return _visible(text) if text else '<span class="mark">no text</span>'


def _visible(text: str) -> str:
    """Return a text as HTML, with invisible characters named."""
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    shown = visible_name(character)
    if shown is None:
        return escape(character)
    return f'<span class="mark">{shown}</span>' + ("\n" if character == "\n" else "")
