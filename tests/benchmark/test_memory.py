"""Peak memory in a fresh process."""

import subprocess
import sys

import pytest

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.memory import main, measure_memory, run_alone
from trimtab.benchmark.peak_memory import peak_of_process
from trimtab.benchmark.plan import Case
from trimtab.benchmark.rows import ROWS
from trimtab.benchmark.subject import SubjectSpec
from trimtab.errors import InvalidData

TINY = SubjectSpec("", "tiny", device="cpu")
RAD = next(row for row in ROWS if row.key == "rad")
CASE = Case(RAD, Setting(2, 5, 6), 4, 1)
MIB = 2**20
PEAK = "from trimtab.benchmark.peak_memory import peak_of_process; {held}; print(peak_of_process())"


def peak(held):
    done = subprocess.run([sys.executable, "-c", PEAK.format(held=held)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_the_peak_is_that_of_the_process_and_not_of_its_parent():
    """The parent, this process, holds torch; a child that holds little must not have its peak."""
    small, large = peak("pass"), peak("x = bytearray(b'1' * (200 * 2**20)); del x")
    assert 300 * MIB < large - small < 500 * MIB  # the bytes and their copy
    assert small < peak_of_process()


def test_a_fresh_process_measures_a_row():
    found = measure_memory(CASE, TINY, 2, seed=0)
    assert found is not None
    assert found > 100 * MIB  # torch alone takes more


def test_a_process_that_fails_measures_nothing():
    assert measure_memory(CASE, SubjectSpec("", "no shapes"), 2, seed=0) is None


def test_the_process_runs_what_it_is_asked_for(monkeypatch):
    asked = {"spec": TINY._asdict(), "row": "rad", "setting": [2, 5, 6], "layers": 2, "seed": 0}
    assert run_alone(asked) > 0
    assert run_alone({**asked, "row": "transformers"}) > 0


@pytest.mark.parametrize("words", [[], ["[]"], ["{"]])
def test_anything_but_an_object_is_refused(words):
    with pytest.raises(InvalidData):
        main(words)
