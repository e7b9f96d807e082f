"""A report as Markdown: tables, captions, notes on what is missing, and what made it."""

import math
from dataclasses import replace
from pathlib import Path

from tiny import tiny_reward
from tiny_sweep import LENGTH, length
from trimtab.evaluation.report.captions import Picture, caption
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.markdown import unread_notes, write_markdown
from trimtab.evaluation.report.record import as_record
from trimtab.judges.text_judges import TextJudge

ROW = "some--up--q=5"


def as_markdown(report, folder, *pictures, title=""):
    write_markdown(as_record(report), folder, pictures, title)
    return (folder / "report.md").read_text(encoding="utf-8")


def test_a_figure_that_is_not_finite_is_a_dash(copied):
    report = measure(copied, [TextJudge("nan", lambda texts: [math.nan] * len(texts))])
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
    assert list(unread_notes(as_record(measure(copied, [])))) == [
        "length has not read 9 texts; name it with --judge to read them."
    ]
    assert list(unread_notes(as_record(measure(copied, [LENGTH])))) == []


def test_a_judge_that_also_steered_is_marked(copied):
    judge = TextJudge("reward:tiny-q", length)
    text = as_markdown(measure(copied, [judge]), copied)
    marked = [line.split(" | ")[0] for line in text.split("\n") if "†" in line and line.startswith("| ")]
    assert set(marked) == {"| q", "| q+v", "| best of 2 by tiny-q"}
    assert "it is not independent" in text


def test_a_picture_has_its_caption_and_a_report_its_title(copied):
    picture = Picture((Path("runs/time.png"), Path("runs/time.pdf")), "Time", "What, of which data.")
    text = as_markdown(measure(copied, [LENGTH]), copied, picture, title="My report")
    assert text.startswith("# My report\n")
    assert "![Time](time.png)\n\n*Figure 1. What, of which data.*" in text


def test_a_report_says_what_made_it(lm, copied):
    text = as_markdown(measure(copied, [LENGTH]), copied)
    fingerprint = tiny_reward(lm.base, "q").fingerprint
    assert f"tiny-q:kind (weights {fingerprint}), β = 2, 5" in text
    assert f"(weights {lm.base.weights_fingerprint}) in float32; device: cpu" in text
    for package in ("trimtab", "torch", "transformers"):
        assert text.count(f"{package} ") >= 2  # of the texts, and of the figures
    assert "length (threshold 0.5)" in text


def test_a_report_says_that_prompts_were_messages(chatting, copied, copied_chat):
    report = measure(copied_chat, [LENGTH])
    text, hashed = as_markdown(report, copied_chat), chatting.engine.codec.chat_template_fingerprint
    assert (
        "3 answers of at most 4 tokens to each prompt, sent as a user message behind a system message, top-k = 6"
        in text
    )
    assert f"one user message in the model's chat template (hash {hashed}); system message: 'w9 w8'. Judges" in text
    assert "sent as a user message" in caption(as_record(report), "What.")
    plain = as_markdown(measure(copied, [LENGTH]), copied)
    assert "3 continuations of at most 4 tokens per prompt, top-k = 6" in plain
    assert "Chat:" not in plain


def test_rows_of_an_earlier_version_say_that_their_versions_are_unknown(copied):
    report = measure(copied, [LENGTH])
    rows = [replace(row, row=replace(row.row, made_by=())) for row in report.rows]
    assert "the version is not recorded" in as_markdown(replace(report, rows=rows), copied)
