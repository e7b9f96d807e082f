"""Figures in several formats, the same bytes each time, with a legend that fits."""

import pytest

from trimtab.evaluation.report.figure import add_legend, add_title, new_figure, save

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def figure_of(names=("a", "b")):
    figure, panels = new_figure(2)
    for name in names:
        panels[0].plot([1, 2], [3, 4], label=name)
    add_legend(figure, panels)
    return figure


def test_each_format_is_written_once_and_is_the_same_each_time(tmp_path):
    files = save(figure_of(), tmp_path / "plot.a", ["png", "svg", "pdf", "svg"])
    assert [file.name for file in files] == ["plot.a.png", "plot.a.svg", "plot.a.pdf"]
    before = {file: file.read_bytes() for file in files}
    assert all(content.startswith(STARTS[file.suffix[1:]]) for file, content in before.items())
    save(figure_of(), tmp_path / "plot.a", ["png", "svg", "pdf"])
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_legend_fits_into_its_figure(count):
    figure = figure_of([f"a rather long name of method {number}" for number in range(count)])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    extent = legend.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.x1
    assert {text.get_text() for text in legend.get_texts()} == {
        f"a rather long name of method {number}" for number in range(count)
    }


def test_a_long_title_is_broken_into_lines_that_fit():
    figure, _ = new_figure(1)
    title = "Average maximum toxicity against perplexity, judged by onnx:toxicity-bert-tiny, and more words"
    add_title(figure, title)
    figure.draw_without_rendering()
    (shown,) = [text for text in figure.texts if text.get_text()]
    extent = shown.get_window_extent()
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.x1
    assert " ".join(shown.get_text().split()) == title
