"""Searches as one HTML page: which words were about to be said, what the judge thought, what was said instead."""

import contextlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from trimtab.rewind.record import Branch, Commit
from trimtab.rewind.result import Rewound

STYLE = Path(__file__).with_suffix(".css")
TAIL = 240  # characters of what came before that a step repeats
JOINERS = "\u200c\u200d"  # invisible, but they shape the letters beside them

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Said and taken back</title>
<style>
$style</style>
</head>
<body>
<main>
<h1>What was said, and what was taken back</h1>
$about
<section class="legend">
<h2>How to read this</h2>
<p>At each step the model wrote several branches with a draft behind each, and a judge scored the drafts.
<ins class="words">What was said</ins> is underlined.
<del><b class="words">What was taken back</b><span class="draft"> with the draft behind it</span></del> is struck
through. What lies <b class="words">ahead</b> of the words that were said is decided in a later step.</p>
<ul>
<li><b>judge</b>: the score of the draft, from ${least} to ${most}; <b>mean</b>: that of all drafts on the branch</li>
<li><b>visits</b>: how often the search went there; <b>prior</b>: how probable the model found it among its
siblings</li>
<li><b>tokens encoded</b>, <b>forward calls</b> and <b>seconds</b>: of the whole call, for all texts searched
together</li>
</ul>
</section>
$articles
</main>
</body>
</html>
""")

ARTICLE = Template("""\
<article>
<h2>$title</h2>
<h3 class="unseen">Prompt and text</h3>
<p class="text whole"><span class="prompt">$prompt</span><span class="answer">$text</span></p>
$numbers
$steps
</article>""")

STEP = Template("""\
<section class="step" id="$place">
<h3>Step $number <span class="count">$count</span></h3>
<p class="text"><span class="prompt">$prompt</span>\
<span class="answer"><span class="before">$before</span><ins class="words">$said</ins></span></p>
$facts
$first
<ul class="branches">
$branches
</ul>
</section>""")

BRANCH = Template("""\
<li class="branch $kind $side" style="--share:$share">
<p class="text"><span class="fate">$fate</span> $words</p>
$facts
$below
</li>""")

BELOW = Template("""\
<details>
<summary>$count</summary>
<ul class="branches">
$branches
</ul>
</details>""")


def write_page(results: Sequence[Rewound], path: Path, about: Mapping[str, str]) -> None:
    """Write searches as one HTML file that needs nothing else: no network, no script.

    Args:
        results: the searches, in the order of the page.
        path: of the file, whose folder is made; it appears whole or not at all.
        about: what holds for all of them, such as the judge and the model: names and values.
    """
    text = page(results, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def page(results: Sequence[Rewound], about: Mapping[str, str]) -> str:
    """The file's content; arguments as in `write_page`."""
    return PAGE.substitute(
        style=STYLE.read_text(encoding="utf-8"),
        about=_about(about) if about else "",
        least=signed(-1),
        most=signed(1),
        articles="\n".join(_article(result, place, len(results)) for place, result in enumerate(results, start=1)),
    )


def pieces(result: Rewound) -> list[str]:
    """What each commit added to the text; joined they are the text.

    Tokens decoded apart may lack the space between them, and a stop string may have cut the last of them.
    """
    rest, found = result.text, []
    for commit in result.commits[:-1]:
        start = rest.find(commit.text)
        end = len(commit.text) + (start if start > 0 and rest[:start].isspace() else 0)
        found.append(rest[:end])
        rest = rest[end:]
    return [*found, rest] if result.commits else []


def signed(value: float) -> str:
    """A score with its sign, such as −0.50; 0 has none."""
    text = f"{value:+.2f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def stand_in(character: str) -> str | None:
    """What is shown for a character that cannot be seen; None for one that can."""
    if character.isprintable() or character in JOINERS:
        return None
    return "↵" if character == "\n" else f"U+{ord(character):04X}"


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('ch') else 's'}"


def _about(about: Mapping[str, str]) -> str:
    rows = (f'<tr><th scope="row">{_seen(name)}</th><td>{_seen(value)}</td></tr>' for name, value in about.items())
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _article(result: Rewound, place: int, total: int) -> str:
    name, said = f"text-{place}", pieces(result)
    steps = [
        _step(commit, f"{name}-step-{number}", number, result.prompt, said[:number])
        for number, commit in enumerate(result.commits, start=1)
    ]
    return ARTICLE.substitute(
        title=f"Text {place} of {total}" if total > 1 else "The text",
        prompt=_seen(result.prompt),
        text=_linked(result.commits, said, name) or _words(result.text),
        numbers=_numbers(result),
        steps="\n".join(steps),
    )


def _linked(commits: Sequence[Commit], said: Sequence[str], name: str) -> str:
    """The text, each piece a link to its step, with how many drafts were taken back there."""
    links = []
    for place, (commit, piece) in enumerate(zip(commits, said, strict=True), start=1):
        back = commit.taken_back
        mark = f'<sup title="{counted(back, "draft")} taken back">{back}</sup>' if back else ""
        links.append(f'<a href="#{name}-step-{place}">{_words(piece)}{mark}</a>')
    return "".join(links)


def _numbers(result: Rewound) -> str:
    return _facts(
        {
            "drafts judged": str(result.iterations),
            "taken back": str(result.taken_back),
            "ended by": _seen(result.finish_reason),
            "tokens encoded": f"{result.spent.tokens:,}",
            "forward calls": f"{result.spent.calls:,}",
            "seconds": f"{result.seconds:,.1f}",
        },
        "numbers",
    )


def _step(commit: Commit, place: str, number: int, prompt: str, said: Sequence[str]) -> str:
    """One commit; `said` are the pieces up to it, its own the last."""
    back, before = commit.taken_back, "".join(said[:-1])
    return STEP.substitute(
        place=place,
        number=number,
        count=f"{counted(back, 'draft')} taken back" if back else "nothing taken back",
        prompt=_tail(prompt, TAIL - len(before)),
        before=_tail(before, TAIL),
        said=_words(said[-1]),
        facts=_facts({"mean": _valued(commit.value), "visits": str(commit.visits)}),
        first=_first_draft(commit) if number == 1 else "",
        branches="\n".join(_branch(branch, below_said=False, final=commit.final) for branch in commit.branches),
    )


def _first_draft(commit: Commit) -> str:
    """What the model wrote before anything had been judged."""
    if commit.draft is None or commit.score is None:
        return ""
    tag = "ins" if commit.text == commit.draft else "del"
    words = f'<{tag}><span class="draft">{_seen(commit.draft)}</span></{tag}>'
    return f'<p class="text"><span class="fate">first draft</span> {words} {_valued(commit.score)}</p>'


def _branch(branch: Branch, below_said: bool, final: bool) -> str:
    fate = "said" if branch.kept else "ahead" if below_said else "taken back"
    below_said = (below_said or branch.kept) and not final
    return BRANCH.substitute(
        kind=fate.partition(" ")[0],
        side=_side(branch.value),
        share=_share(branch.value),
        fate=fate,
        words=_branch_words(branch, "ins" if branch.kept else "span" if fate == "ahead" else "del"),
        facts=_branch_facts(branch),
        below=_below(branch.children, below_said, final) if branch.children else "",
    )


def _branch_words(branch: Branch, tag: str) -> str:
    """The words of a branch with its draft; of what was said, the words alone are marked so."""
    words = f'<b class="words">{_words(branch.text)}</b>'
    draft = f'<span class="draft">{_seen(branch.draft)}</span>' if branch.draft else ""
    return f"<{tag}>{words}</{tag}>{draft}" if tag == "ins" else f"<{tag}>{words}{draft}</{tag}>"


def _branch_facts(branch: Branch) -> str:
    return _facts(
        {
            "judge": "not asked" if branch.score is None else _valued(branch.score),
            "mean": _valued(branch.value),
            "visits": str(branch.visits),
            "prior": f"{branch.prior:.0%}",
        }
    )


def _below(children: Sequence[Branch], below_said: bool, final: bool) -> str:
    drafts = sum(child.judged for child in children)
    return BELOW.substitute(
        count=f"{counted(len(children), 'branch')} below, {counted(drafts, 'draft')} judged",
        branches="\n".join(_branch(child, below_said, final) for child in children),
    )


def _facts(facts: Mapping[str, str], kind: str = "facts") -> str:
    """Names with values that are HTML already."""
    rows = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<dl class="{kind}">' + "".join(rows) + "</dl>"


def _valued(value: float) -> str:
    """A number with a bar: to the left and red below 0, to the right and green above."""
    bar = f'<span class="bar {_side(value)}" style="--share:{_share(value)}" aria-hidden="true"><i></i></span>'
    return f"{signed(value)} {bar}"


def _side(value: float) -> str:
    return "low" if value < 0 else "high"


def _share(value: float) -> str:
    return f"{min(abs(value), 1):.0%}"


def _tail(text: str, most: int) -> str:
    """At most so many characters, the last ones."""
    return _seen(text if len(text) <= most else "…" + text[-most:] if most > 0 else "")


def _words(text: str) -> str:
    """Text that may be empty, as a special token's is."""
    return _seen(text) if text else '<span class="mark">no text</span>'


def _seen(text: str) -> str:
    """Text as HTML, in which characters that cannot be seen are named."""
    return "".join(map(_seen_character, text))


def _seen_character(character: str) -> str:
    shown = stand_in(character)
    if shown is None:
        return escape(character)
    return f'<span class="mark">{shown}</span>' + ("\n" if character == "\n" else "")
