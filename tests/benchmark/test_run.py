"""A benchmark from start to end, and one that Ctrl-C ends."""

import pytest
import torch

from trimtab.benchmark.bench_settings import BenchSettings, Setting
from trimtab.benchmark.record import record_of
from trimtab.benchmark.rows import KEYS
from trimtab.benchmark.run import check_clock, measure, prepare
from trimtab.benchmark.subject import SubjectSpec
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidSetting

TINY = SubjectSpec("", "tiny", device="cpu")
SETTINGS = BenchSettings(batch=[1, 2], prompt_tokens=[5], top_k=[6], tokens=4, repeats=2, memory=False)


@pytest.fixture(scope="module")
def whole():
    """Return what a benchmark measured, and its progress."""
    subject, found = prepare(TINY, SETTINGS)
    seen = []
    measure(subject, TINY, SETTINGS, found, lambda name, done, total: seen.append((name, done, total)))
    return found, seen


def test_every_row_is_measured_or_left_out(whole):
    found, _ = whole
    assert list(found.runs) == [Setting(1, 5, 6), Setting(2, 5, 6)]
    for setting, runs in found.runs.items():
        left_out = {each.row.key for each in found.left_out if each.setting == setting}
        assert runs.keys() | left_out == set(KEYS)
        assert not runs.keys() & left_out
        assert {len(of_row) for of_row in runs.values()} == {2}
        assert {key for table, key in found.parts if table == setting} == runs.keys()


def test_the_progress_ends_when_all_work_is_done(whole):
    _, seen = whole
    done = [work for _, work, _ in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(seen[-1][2])
    assert len({total for *_, total in seen}) == 1


def test_the_record_says_where_and_how_it_was_measured(whole):
    about = record_of(whole[0])["about"]
    assert {"trimtab", "torch", "transformers", "processor", "threads", "dtype", "seconds", "load_average"} <= set(
        about
    )
    assert (about["model"], about["random_weights"], about["device"]) == ("tiny", True, "cpu")
    assert (about["tokens"], about["repeats"], about["quick"]) == (4, 2, False)


def test_the_record_can_be_written_and_read(whole):
    record = record_of(whole[0])
    assert parse_json(dump_json(record)) == parse_json(dump_json(parse_json(dump_json(record))))
    assert len(record["tables"]) == 2


@pytest.mark.parametrize("calls", [3, 12])
def test_an_interrupted_benchmark_keeps_what_it_measured(calls):
    """During the warm-up, and between two runs."""
    settings = BenchSettings(rows=["own", "arm"], batch=[1, 2], prompt_tokens=[5], top_k=[6], tokens=4, repeats=3)
    subject, found = prepare(TINY, settings)
    seen = []

    def interrupt(*progress):
        seen.append(progress)
        if len(seen) == calls:
            raise KeyboardInterrupt

    measure(subject, TINY, settings, found, interrupt)
    record = record_of(found)
    assert found.interrupted
    assert record["interrupted"]
    measured = [[row["row"] for row in table["rows"]] for table in record["tables"]]
    assert measured == ([[]] if calls == 3 else [["plain", "own", "arm"]])
    assert len(seen) == calls


def test_memory_is_measured_behind_the_times(monkeypatch):
    settings = BenchSettings(rows=["own"], batch=[1], prompt_tokens=[5], top_k=[6], tokens=4, repeats=1)
    asked = []
    monkeypatch.setattr("trimtab.benchmark.run.measure_memory", lambda *given: asked.append(given) or 7 * 2**20)
    subject, found = prepare(TINY, settings)
    measure(subject, TINY, settings, found, lambda *progress: None)
    (table,) = record_of(found)["tables"]
    assert [row["peak_memory"] for row in table["rows"]] == [7 * 2**20] * 2
    assert [(case.row.key, spec, layers, seed) for case, spec, layers, seed in asked] == [
        ("plain", TINY, 2, 0),
        ("own", TINY, 2, 0),
    ]


def test_the_cpu_time_can_be_measured():
    settings = BenchSettings(rows=["own"], cpu_time=True)
    _, found = prepare(TINY, settings)
    assert found.about["clock"] == "CPU time"


def test_the_cpu_time_of_a_gpu_is_refused():
    with pytest.raises(InvalidSetting, match="got --cpu-time with a model on cuda:0"):
        check_clock(BenchSettings(cpu_time=True), torch.device("cuda:0"))


def test_settings_that_do_not_fit_are_refused_before_anything_runs():
    with pytest.raises(InvalidSetting, match="context"):
        prepare(TINY, BenchSettings(prompt_tokens=[2000]))
    with pytest.raises(InvalidSetting, match="layers=3"):
        prepare(TINY, BenchSettings(layers=3))
    with pytest.raises(InvalidSetting, match="nonsense"):
        prepare(SubjectSpec("", "tiny", device="nonsense"), SETTINGS)
