"""A report as JSON and Markdown: computed again to the same bytes, with notes on what is missing."""

import json
import math
import shutil

import pytest

from tiny_sweep import LENGTH, length
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.render import unread_notes, write_json, write_markdown
from trimtab.evaluation.tasks import TASKS
from trimtab.judges.text_judges import TextJudge

ROW = "some--up--q=5"


def as_json(report, folder):
    write_json(report, folder / "report.json")
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def as_markdown(report, folder, *pictures):
    write_markdown(report, folder / "report.md", pictures)
    return (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_is_computed_again_from_the_texts_alone(whole, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(whole, first)
    shutil.copytree(whole, second, ignore=shutil.ignore_patterns("readings"))
    found = as_json(measure(first, [LENGTH]), first)
    assert as_json(measure(second, [LENGTH]), second) == found
    assert as_json(measure(first, []), first) == found  # from the saved readings


def test_the_json_holds_each_figure_with_its_interval(copied):
    report = measure(copied, [LENGTH])
    (row,) = (
        row
        for row in as_json(report, copied)["rows"]
        if (row["method"], row["beta"], row["prompts"]) == ("q", 5.0, "some")
    )
    (figures,) = (row for row in report.rows if row.row.name == ROW)
    ratio = figures.figures["kl"]
    low, high = ratio.interval()
    assert row["figures"]["kl"] == pytest.approx({"value": ratio.value, "low": low, "high": high})
    assert row["prompts_done"] == 3
    assert row["judges"]["length"].keys() == {"failed", *(figure for task in TASKS.values() for figure in task.figures)}


def test_numbers_that_json_cannot_hold_are_null(copied):
    report = measure(copied, [TextJudge("nan", lambda texts: [math.nan] * len(texts))])
    rows = as_json(report, copied)["rows"]
    assert all(row["judges"]["nan"]["mean"]["value"] is None for row in rows)
    assert "| – |" in as_markdown(report, copied)


def test_the_table_has_a_row_for_each_method_and_beta(copied):
    lines = as_markdown(measure(copied, [LENGTH]), copied).split("\n")
    assert "## some, steered up" in lines
    assert "## more, steered down" in lines
    (header,) = {line for line in lines if line.startswith("| method | β | mean, length")}
    assert header.count("|") == {line.count("|") for line in lines if line.startswith("| q+v | 5 |")}.pop()
    assert sum(line.startswith("| q | 5 |") for line in lines) == 2


def test_control_at_equal_perplexity_has_its_own_table(copied):
    text = as_markdown(measure(copied, [LENGTH]), copied)
    assert "mean by length, at multiples of the perplexity of `top-k`:" in text
    assert "| method | 1.1× | 1.25× | 1.5× | 2× |" in text


def test_an_unfinished_row_shows_the_number_of_its_prompts(copied):
    target = copied / f"{ROW}.jsonl"
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join(lines[:8]) + "\n" + lines[8][:20], encoding="utf-8")  # two prompts and a part
    assert "q (2 of 3 prompts)" in as_markdown(measure(copied, [LENGTH]), copied)


def test_failures_of_a_judge_are_noted(copied):
    def moody(texts):
        return [math.nan if "w1" in text.split() else 0.5 for text in texts]

    report = measure(copied, [TextJudge("moody", moody)])
    assert report.faults["moody"]
    assert f"moody failed on {len(report.faults['moody'])} texts" in as_markdown(report, copied)


def test_texts_that_a_judge_has_not_read_are_noted(copied, tmp_path):
    late = copied / f"{ROW}.jsonl"
    late.rename(tmp_path / "late")
    measure(copied, [LENGTH])
    (tmp_path / "late").rename(late)
    assert list(unread_notes(measure(copied, []))) == [
        "length has not read 9 texts; name it with --judge to read them."
    ]
    assert list(unread_notes(measure(copied, [LENGTH]))) == []


def test_a_judge_that_also_steered_is_marked(copied):
    judge = TextJudge("reward:tiny-q", length)
    text = as_markdown(measure(copied, [judge]), copied)
    marked = [line.split(" | ")[0] for line in text.split("\n") if "†" in line and line.startswith("| ")]
    assert set(marked) == {"| q", "| q+v", "| best of 2 by tiny-q"}
    assert "it is not independent" in text
