"""The report as Markdown."""

import pytest

from trimtab.benchmark.bench_settings import BenchSettings
from trimtab.benchmark.markdown import markdown, markdown_table
from trimtab.benchmark.record import record_of
from trimtab.benchmark.rows import find_rows
from trimtab.benchmark.run import measure, prepare
from trimtab.benchmark.subject import SubjectSpec

TINY = SubjectSpec("", "tiny", device="cpu")


@pytest.fixture(scope="module")
def page():
    """Return the report of a small benchmark."""
    settings = BenchSettings(
        rows=["own", "own-steers"], batch=[1, 2], prompt_tokens=[5], top_k=[6], tokens=4, repeats=1, memory=False
    )
    subject, found = prepare(TINY, settings)
    measure(subject, TINY, settings, found, lambda *progress: None)
    return markdown(record_of(found))


def test_every_table_is_well_formed(page):
    lines = page.splitlines()
    heads = [place for place, line in enumerate(lines) if line.startswith("|---")]
    assert len(heads) == 3  # the goals and two batches
    for place in heads:
        rows = [lines[place - 1]]
        while lines[place].startswith("|"):
            rows.append(lines[place])
            place += 1
        assert len({row.count("|") for row in rows}) == 1


def test_every_row_is_in_its_table(page):
    plain, own, steers = (row.title for row in find_rows(["plain", "own", "own-steers"]))
    alone, together = page.split("## Batch ")[1:]
    assert f"| {plain} |" in alone
    assert f"| {own} |" in alone
    assert f"| {steers} |" in together
    assert f"| {steers} |" not in alone
    assert f"Left out: {steers}: a batch of one has one steer." in alone


def test_the_page_says_what_made_it_and_how_to_read_it(page):
    assert page.startswith("# The time of a token: tiny in float32\n")
    for words in ("random weights", "## Goals", "| ladder / plain |", "## How to read it", "first token:"):
        assert words in page


def test_a_table_has_its_columns_to_the_right():
    found = list(markdown_table(["a", "b", "c"], iter([("1", "2", "3")])))
    assert found == ["| a | b | c |", "|---|---:|---:|", "| 1 | 2 | 3 |"]
