"""A report as LaTeX: balanced, escaped, with the rules of booktabs and with intervals."""

import re

import pytest

from tiny_sweep import LENGTH
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.latex import escape, write_latex
from trimtab.evaluation.report.record import as_record


@pytest.fixture
def text(copied):
    write_latex(as_record(measure(copied, [LENGTH])), copied)
    return (copied / "report.tex").read_text(encoding="utf-8")


def test_special_characters_are_escaped():
    assert escape("a_b & 50% $x {y} #1 ~^\\") == (
        r"a\_b \& 50\% \$x \{y\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape("β × † –") == r"$\beta$ $\times$ $^\dagger$ --"


def test_environments_and_braces_are_balanced(text):
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 1
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == text.count(r"\caption")


def test_every_line_of_a_table_has_the_same_cells(text):
    for alignment, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, flags=re.S):
        lines = [line for line in body.split("\n") if line.endswith(r"\\")]
        assert len(lines) > 1
        assert all(len(re.split(r"(?<!\\)&", line)) == len(alignment) for line in lines)


def test_cells_have_intervals_and_methods_have_rows(copied, text):
    record = as_record(measure(copied, [LENGTH]))
    (row,) = (row for row in record["rows"] if (row["method"], row["beta"], row["prompts"]) == ("q", 5.0, "some"))
    figure = row["judges"]["length"]["mean"]
    assert f"{figure['value']:.3f} {{\\scriptsize({figure['low']:.3f}--{figure['high']:.3f})}}" in text
    assert text.count("\nq+v & 5 &") == 2


def test_a_title_begins_every_caption(copied):
    write_latex(as_record(measure(copied, [LENGTH])), copied, "50% of it")
    text = (copied / "report.tex").read_text(encoding="utf-8")
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(captions) > 1
    assert all(caption.startswith(r"50\% of it") for caption in captions)
