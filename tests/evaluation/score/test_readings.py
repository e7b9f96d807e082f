"""Saved readings: made once, kept by text and sample, NaN with a reason where a reader fails."""

import math

import pytest

from trimtab.evaluation.score.readings import Readings, read_safely


def text(words, place=0, sample=0):
    return {"prompt": "p", "text": words, "place": place, "sample": sample}


@pytest.fixture
def calls():
    return []


@pytest.fixture
def read(calls):
    def lengths(texts):
        calls.append([each["text"] for each in texts])
        return [[float(len(each["text"]))] for each in texts]

    return lengths


def test_saved_readings_are_not_made_again(tmp_path, read, calls):
    readings = Readings(tmp_path)
    assert readings.of("row", "length", [text("a"), text("bb", 1)], read) == [[1.0], [2.0]]
    assert readings.of("row", "length", [text("bb", 1), text("ccc", 2)], read) == [[2.0], [3.0]]
    assert calls == [["a", "bb"], ["ccc"]]
    assert readings.of("row", "length", [text("a")], None) == [[1.0]]


def test_equal_texts_of_different_samples_are_read_separately(tmp_path, read, calls):
    Readings(tmp_path).of("row", "length", [text("a", sample=0), text("a", sample=1)], read)
    assert calls == [["a", "a"]]


def test_texts_that_were_not_read_are_nan(tmp_path):
    ((found,),) = Readings(tmp_path).of("row", "length", [text("a")], None)
    assert math.isnan(found)


def test_judges_are_listed_in_the_order_in_which_they_were_named(tmp_path, read):
    readings = Readings(tmp_path)
    for name, about in (
        ("b", {"threshold": 0.5, "place": 1}),
        ("perplexity:lm", {}),
        ("z", {"threshold": 0.25, "place": 0}),
    ):
        readings.of("row", name, [text("a")], read, about)
    assert readings.judges() == ["z", "b"]
    assert list(readings.readers()) == ["z", "b", "perplexity:lm"]
    assert readings.readers()["z"]["threshold"] == 0.25


def test_a_reader_that_fails_on_a_text_reads_the_others():
    def moody(texts):
        if any(each["text"] == "bad" for each in texts):
            raise ValueError("not this one")
        return [[1.0, 2.0] for _ in texts]

    faults = []
    good, bad, also_good = read_safely(moody, [text("a"), text("bad"), text("c")], faults)
    assert good == also_good == [1.0, 2.0]
    assert all(map(math.isnan, bad))
    assert len(bad) == 2
    assert faults == ["ValueError: not this one: 'bad'"]


def test_a_reader_that_returns_too_few_scores_gives_nan_and_a_fault():
    faults = []
    ((found,),) = read_safely(lambda texts: [], [text("a")], faults)
    assert math.isnan(found)
    assert "got 0 readings of 1 texts" in faults[0]


def test_faults_are_saved_with_the_readings(tmp_path):
    readings = Readings(tmp_path)
    readings.of("row", "nan", [text("a"), text("b")], lambda texts: [[math.nan] for _ in texts])
    assert readings.faults("row", "nan") == ["not a number: 'a'", "not a number: 'b'"]
    assert readings.faults("row", "other") == []
