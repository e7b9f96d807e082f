"""The summary of a training table."""

from io import StringIO

from rich.console import Console

from trimtab.training.summary import summarize


def test_a_summary_counts_tokens_cuts_and_classes(llama):
    texts = ["w1 w2 w3", "w4", "w5 w6"]
    summary = summarize(texts, llama, 2, {"good": [1.0, 0.25, 0.0]})
    assert summary.facts == {"tokens": 6, "median_tokens": 2, "share_high": {"good": 1 / 3}}
    console = Console(width=120, file=StringIO())
    console.print(summary.table)
    shown = console.file.getvalue()
    for expected in ("3, 6 tokens", "longest 3", "1 texts longer than 2 tokens", "33.3% high", "33% soft", "good=0.25"):
        assert expected in shown
