"""Saved readings: made once, kept by text and sample, NaN with a reason where a reader fails."""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trimtab.errors import InvalidData, NonFiniteReward
from trimtab.evaluation.score.metrics import fluency_figure
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


def test_two_readers_of_one_row_read_each_text_once(tmp_path):
    """The second one waits, and finds the readings of the first."""
    texts, seen = [{"place": n, "sample": 0, "prompt": "p", "text": f"t{n}"} for n in range(5)], []

    def read(some):
        seen.extend(some)
        time.sleep(0.01)
        return [[1.0] for _ in some]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: Readings(tmp_path).of("row", "judge", texts, read), range(4)))
    assert found == [[[1.0]] * 5] * 4
    assert len(seen) == 5


def test_saved_readings_are_not_made_again(tmp_path, read, calls):
    readings = Readings(tmp_path)
    assert readings.of("row", "length", [text("a"), text("bb", 1)], read) == [[1.0], [2.0]]
    assert readings.of("row", "length", [text("bb", 1), text("ccc", 2)], read) == [[2.0], [3.0]]
    assert calls == [["a", "bb"], ["ccc"]]
    assert readings.of("row", "length", [text("ccc", 2)], None) == [[3.0]]


def test_equal_texts_of_different_samples_are_read_separately(tmp_path, read, calls):
    Readings(tmp_path).of("row", "length", [text("a", sample=0), text("a", sample=1)], read)
    assert calls == [["a", "a"]]


def test_texts_that_were_not_read_are_nan(tmp_path):
    ((found,),) = Readings(tmp_path).of("row", "length", [text("a")], None)
    assert math.isnan(found)


def test_texts_that_a_reader_of_several_numbers_fails_on_have_as_many_nan(tmp_path):
    """257 texts: the last one is a chunk of its own, in which nothing is read."""
    texts, asked = [text("a", number) for number in range(256)] + [text("long", 256)], []

    def read(some):
        asked.append(len(some))
        if any(each["text"] == "long" for each in some):
            raise ValueError("too long")
        return [[1.0, 2.0] for _ in some]

    readings = Readings(tmp_path)
    found = readings.of("row", "perplexity:lm", texts, read)
    assert found[:256] == [[1.0, 2.0]] * 256
    assert len(found[256]) == 2
    assert all(map(math.isnan, found[256]))
    again = readings.of("row", "perplexity:lm", texts, read)
    assert again[:256] == found[:256]
    assert asked == [256, 1]


def test_one_text_that_fails_among_many_is_found_by_halves(tmp_path):
    calls = []

    def read(some):
        calls.append(len(some))
        if any(each["text"] == "bad" for each in some):
            raise ValueError("bad")
        return [[1.0] for _ in some]

    texts = [text("bad" if number == 77 else "a", number) for number in range(256)]
    faults = []
    found = read_safely(read, texts, faults)
    assert [place for place, (value,) in enumerate(found) if math.isnan(value)] == [77]
    assert len(faults) == 1
    assert len(calls) == 17  # eight times two halves, and the whole


def test_a_row_that_a_reader_of_perplexity_never_read_has_no_perplexity():
    assert math.isnan(fluency_figure(np.full((3, 2, 1), np.nan)).value)


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
    assert readings.faults("row", "nan", [text("a"), text("b")]) == ["not a number: 'a'", "not a number: 'b'"]
    assert readings.faults("row", "other", [text("a")]) == []


def test_readings_and_faults_of_texts_that_a_row_has_no_longer_are_dropped(tmp_path):
    def read(texts):
        return [[math.nan if "bad" in each["text"] else 1.0] for each in texts]

    readings, rewritten = Readings(tmp_path), [text("bad 3"), text("bad 2", 1), text("good 1", 2)]
    readings.of("row", "nan", [text("good"), text("bad 1", 2), text("bad 2", 1)], read)
    assert readings.faults("row", "nan", rewritten) == ["not a number: 'bad 2'"]
    readings.of("row", "nan", rewritten, read)
    assert readings.faults("row", "nan", rewritten) == ["not a number: 'bad 3'", "not a number: 'bad 2'"]
    saved = json.loads(readings.path("row", "nan").read_text(encoding="utf-8"))
    assert (len(saved["texts"]), len(saved["faults"])) == (3, 2)


def test_a_reward_that_is_not_finite_is_no_failure_of_a_judge(tmp_path):
    def broken(texts):
        raise NonFiniteReward("got a score of nan")

    with pytest.raises(NonFiniteReward):
        Readings(tmp_path).of("row", "reward:q", [text("a"), text("b")], broken)
    assert not list(tmp_path.rglob("*.json"))


def test_a_judge_that_is_made_of_something_else_reads_again(tmp_path, read, calls):
    readings = Readings(tmp_path)
    for identity in ({"sha256": "1"}, {"sha256": "1"}, {"sha256": "2"}):
        readings.of("row", "length", [text("a")], read, {"threshold": 0.5, "identity": identity})
    assert calls == [["a"], ["a"]]
    assert readings.readers()["length"]["identity"] == {"sha256": "2"}


def test_readings_without_a_record_of_the_judge_are_kept(tmp_path, read, calls):
    readings = Readings(tmp_path)
    readings.of("row", "length", [text("a")], read, {"threshold": 0.5})
    readings.of("row", "length", [text("a")], read, {"threshold": 0.5, "identity": {"sha256": "2"}})
    assert calls == [["a"]]


def test_saved_nan_is_null_and_nan_of_earlier_versions_is_read(tmp_path):
    readings = Readings(tmp_path)
    readings.of("row", "nan", [text("a")], lambda texts: [[math.nan] for _ in texts])
    path = readings.path("row", "nan")
    saved = path.read_text(encoding="utf-8")
    assert "[[null]]" in saved
    path.write_text(saved.replace("null", "NaN"), encoding="utf-8")
    ((found,),) = readings.of("row", "nan", [text("a")], None)
    assert math.isnan(found)


@pytest.mark.parametrize("words", ["ascii", "naïve …", "\U0001f600 \x7f \ud83d", 'quote " and \\ and \x1b'])
def test_the_digest_of_a_text_is_that_of_earlier_versions(words):
    """They hashed json.dumps with its defaults, so that saved readings still belong to their texts."""
    import hashlib
    import json

    from trimtab.evaluation.score.readings import _digest

    whole = json.dumps([0, 1, "p", words]).encode()
    assert _digest(text(words, 0, 1)) == hashlib.sha256(whole).hexdigest()[:16]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"reader": "x"}',
        '{"reader": "x", "row": "r", "about": {}, "texts": ["a"], "values": [["b"]]}',
        '{"reader": "x", "row": "r", "about": {"place": "first"}, "texts": [], "values": []}',
        '{"reader": "x", "row": "r", "about": {}, "texts": ["a", "b"], "values": [[1], [1, 2]]}',
    ],
)
def test_damaged_readings_are_named(tmp_path, content):
    readings = Readings(tmp_path)
    readings.folder.mkdir()
    readings.path("row", "length").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=r"row--length\.json"):
        readings.of("row", "length", [text("a")], None)
