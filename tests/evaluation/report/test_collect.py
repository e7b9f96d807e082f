"""The figures of a comparison, from its folder alone."""

import math

import numpy as np
import pytest

from tiny_sweep import LENGTH, length
from trimtab.errors import InvalidData
from trimtab.evaluation.report.collect import measure, read_rows
from trimtab.evaluation.run.row_file import read_row
from trimtab.judges.text_judges import TextJudge

ROW = "some--up--q=5"


def figures_of(report, name=ROW):
    return next(row for row in report.rows if row.row.name == name)


def test_figures_equal_those_computed_from_the_file(copied):
    row = figures_of(measure(copied, [LENGTH]))
    texts = read_row(copied / f"{ROW}.jsonl")[1]
    nats = [-x for text in texts for x in text["base_logprobs"]]
    assert row.figures["perplexity"].value == pytest.approx(math.exp(sum(nats) / len(nats)))
    assert row.control["length"]["mean"].value == pytest.approx(np.mean(length([text["text"] for text in texts])))


def test_rows_of_other_settings_have_no_common_report(copied):
    target = copied / f"{ROW}.jsonl"
    head, *rest = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join([head.replace('"seed": 0', '"seed": 1'), *rest]), encoding="utf-8")
    with pytest.raises(InvalidData, match=r"do not belong together \(seed"):
        measure(copied, [LENGTH])


def test_rows_of_other_prompts_have_no_common_report(copied):
    target = copied / f"{ROW}.jsonl"
    head, *rest = target.read_text(encoding="utf-8").split("\n")
    digest = read_row(target)[0]["prompts_digest"]
    target.write_text("\n".join([head.replace(digest, "another"), *rest]), encoding="utf-8")
    with pytest.raises(InvalidData, match="other prompts"):
        measure(copied, [LENGTH])


def test_folders_without_rows_are_refused(tmp_path):
    with pytest.raises(InvalidData, match="no rows"):
        read_rows(tmp_path)
    with pytest.raises(InvalidData, match="no such folder"):
        read_rows(tmp_path / "nothing")


def test_an_unfinished_row_is_measured_on_its_finished_prompts(copied):
    target = copied / f"{ROW}.jsonl"
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join(lines[:8]) + "\n" + lines[8][:20], encoding="utf-8")  # two prompts and a part
    assert len(figures_of(measure(copied, [LENGTH])).row.texts) == 2
    assert figures_of(measure(copied, [])).control["length"]["failed"].over.sum() == 0  # by the saved readings
    target.write_text("\n".join(lines), encoding="utf-8")
    report = measure(copied, [LENGTH])
    assert all(row.control["length"]["failed"].over.sum() == 0 for row in report.rows)  # the rest was read, too


def test_failures_of_a_judge_are_counted_and_named(copied):
    def moody(texts):
        if any("w1" in text.split() for text in texts):
            raise ValueError("not w1")
        return [math.nan if "w2" in text.split() else 0.5 for text in texts]

    report = measure(copied, [TextJudge("moody", moody)])
    texts = [text["text"].split() for row in read_rows(copied) for text in row.flat]
    bad = sum("w1" in words or "w2" in words for words in texts)
    assert bad
    assert sum(row.control["moody"]["failed"].over.sum() for row in report.rows) == bad
    assert len(report.faults["moody"]) == bad


def test_every_pair_of_judges_is_compared_over_all_texts(copied):
    other = TextJudge("short", lambda texts: [1 - score for score in length(texts)], threshold=0.75)
    report = measure(copied, [LENGTH, other])
    (found,) = report.agreement.values()
    scores = np.array(length([text["text"] for row in read_rows(copied) for text in row.flat]))
    assert found["texts"] == len(scores)
    assert found["spearman"] == pytest.approx(-1.0)
    assert found["same verdict"] == pytest.approx(np.mean((scores >= 0.5) == (1 - scores >= 0.75)))


def test_rows_of_a_method_are_in_the_order_of_its_numbers(copied):
    for beta in (2, 5):
        path = copied / f"some--up--q={beta}.jsonl"
        for rank in (16, 4):
            text = path.read_text(encoding="utf-8").replace('"method": "q"', f'"method": "rank-{rank}"')
            (copied / f"some--up--rank-{rank}={beta}.jsonl").write_text(text, encoding="utf-8")
    methods = [(row.settings["method"], row.settings["beta"]) for row in read_rows(copied)]
    ranks = [each for each in methods if each[0].startswith("rank")]
    assert ranks == [("rank-4", 2.0), ("rank-4", 5.0), ("rank-16", 2.0), ("rank-16", 5.0)]


@pytest.mark.parametrize("keep_order", [True, False])
def test_the_profile_that_was_asked_for_last_is_shown(copied, keep_order):
    def asked(name, value):
        readers = {f"profile:{name}": lambda texts: [[value] * 10 for _ in texts]}
        report = measure(copied, [LENGTH], readers, keep_order=keep_order)
        return report.profiled, report.rows[0].profile

    assert asked("old", 0.25) == ("old", [0.25] * 10)
    assert asked("new", 0.75) == ("new", [0.75] * 10)
