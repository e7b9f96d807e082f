"""The record of a report: computed again to the same bytes, null where there is no figure, refused if damaged."""

import contextlib
import json
import math
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiny_sweep import LENGTH
from trimtab.errors import InvalidData
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.latex import write_latex
from trimtab.evaluation.report.markdown import write_markdown
from trimtab.evaluation.report.record import as_record
from trimtab.evaluation.report.record_file import by_set, read_report, write_record
from trimtab.evaluation.tasks import TASKS
from trimtab.judges.text_judges import TextJudge

ROW = "some--up--q=5"


def as_json(report, folder):
    write_record(as_record(report), folder)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


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
    assert "NaN" not in (copied / "report.json").read_text(encoding="utf-8")


def test_texts_that_were_written_again_are_unread_until_the_judge_reads_them(copied):
    """What it said of the texts before counts no longer."""
    fails = TextJudge("nan", lambda texts: [math.nan] * len(texts))
    count = len(as_record(measure(copied, [fails]))["faults"]["nan"])
    path = copied / f"{ROW}.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"text": "', '"text": "again '), encoding="utf-8")
    unread = as_record(measure(copied, []))
    assert (unread["unread"], len(unread["faults"]["nan"])) == ({"nan": 9}, count - 9)
    read = as_record(measure(copied, [fails]))
    assert (read["unread"], len(read["faults"]["nan"])) == ({}, count)


def test_the_record_says_what_made_the_texts_and_the_figures(lm, copied):
    record = as_json(measure(copied, [LENGTH], identities={}), copied)
    assert record["settings"]["base_fingerprint"] == lm.base.base_fingerprint
    assert record["measured_by"]["readers"]["length"]["judge"] == "length"
    assert record["measured_by"].keys() >= {"trimtab", "torch", "transformers"}
    (row,) = (row for row in record["rows"] if (row["method"], row["beta"], row["prompts"]) == ("q+v", 2.0, "some"))
    (maker,) = row["made_by"]
    assert maker.keys() >= {
        "trimtab",
        "torch",
        "transformers",
        "engine",
        "model",
        "base_fingerprint",
        "dtype",
        "device",
    }
    assert [term["beta"] for term in maker["steer"]] == [1.0, 1.0]
    assert all(term["fingerprint"] for term in maker["steer"])
    assert maker["sampling"]["seed"] == 0
    best = next(row for row in record["rows"] if row["method"].startswith("best of"))
    assert best["made_by"][0]["ranked_by"][0]["direction"] == "toward"


def test_a_record_that_was_written_is_read(copied):
    record = as_record(measure(copied, [LENGTH]))
    write_record(record, copied)
    assert read_report(copied) == record
    assert [(key, len(rows)) for key, rows in by_set(record)] == [(("some", "up"), 9), (("more", "down"), 9)]


def test_the_reports_in_results_are_read():
    """They were written by an earlier version."""
    from pathlib import Path

    results = Path(__file__).parents[3] / "results"
    for folder in ("evaluation/sentiment", "evaluation/toxicity", "rewind/toxicity"):
        assert read_report(results / folder)["rows"]


def test_a_folder_without_a_report_is_refused(tmp_path):
    with pytest.raises(InvalidData, match=r"report\.json"):
        read_report(tmp_path)


@settings(derandomize=True, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_record_is_harmless_or_refused(copied, data):
    """Any value of the record is replaced by one of another type."""
    if not (copied / "report.json").exists():
        write_record(as_record(measure(copied, [LENGTH])), copied)
        shutil.copy(copied / "report.json", copied / "whole")
    record = json.loads((copied / "whole").read_text(encoding="utf-8"))
    place, keys = record, []
    while isinstance(place, dict | list) and place and (not keys or data.draw(st.booleans())):
        options = sorted(place) if isinstance(place, dict) else range(len(place))
        keys.append((place, data.draw(st.sampled_from(list(options)))))
        place = place[keys[-1][1]]
    holder, key = keys[-1]
    holder[key] = data.draw(st.sampled_from([None, True, -1, 2.5, "x", [], {}, [1], {"a": 1}]))
    (copied / "report.json").write_text(json.dumps(record), encoding="utf-8")
    with contextlib.suppress(InvalidData):  # no other error
        found = read_report(copied)
        write_markdown(found, copied)
        write_latex(found, copied)
