"""The time between two marks belongs to the innermost part."""

import pytest
import torch

from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.parts import PARTS, Marks, time_parts, watched_modules, watched_sampling, watched_steers
from trimtab.benchmark.rows import ROWS
from trimtab.benchmark.writers import job_of
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.sampling import RowSampling

ROW = {row.key: row for row in ROWS}
SETTING = Setting(2, 5, 6)


def ticking():
    """Marks whose clock moves by one second a look, and the time of the next look."""
    now = [0]

    def stamp():
        now[0] += 1
        return now[0]

    return Marks(stamp, lambda start, end: float(end - start)), now


def test_the_innermost_part_gets_the_time():
    marks, now = ticking()
    marks.start()
    now[0] += 10  # rest, and one second to the next mark
    with marks.part("reward"):
        now[0] += 20
        with marks.part("head"):
            now[0] += 30
        now[0] += 40
    marks.end()
    assert marks.seconds() == {"lm": 0.0, "reward": 62.0, "head": 31.0, "sampling": 0.0, "rest": 12.0}


def test_marks_before_the_start_do_not_count():
    marks, _ = ticking()
    with marks.part("lm"):
        pass
    marks.start()
    marks.end()
    assert marks.seconds() == {part: float(part == "rest") for part in PARTS}


def test_a_part_ends_when_its_work_fails():
    marks, _ = ticking()
    marks.start()
    with pytest.raises(ZeroDivisionError):
        marks.watched(lambda: 1 / 0, "head")()
    marks.end()
    assert marks.seconds()["rest"] == 2.0


@pytest.mark.parametrize("key", [key for key in ROW if key != "draft"])  # the tiny model has no draft head
def test_every_row_has_its_parts(subject, key):
    job = job_of(ROW[key], SETTING, FreshRewards(subject), seed=0)
    found = time_parts(job, 5, ROW[key].writer == "generate")
    expected = {"lm", "rest"}
    expected |= {"sampling"} if ROW[key].writer == "loop" else set()
    expected |= {"reward", "head"} if ROW[key].reward else set()
    assert {part for part, seconds in found.items() if seconds > 0} == expected


def test_watching_ends_with_the_run_and_changes_no_text(subject):
    plain = RowSampling.candidates, RowSampling.choose
    job = job_of(ROW["arm"], SETTING, FreshRewards(subject), seed=0)
    before = [one.token_ids for (one,) in TorchEngine(subject.lm).sample(job.requests(6))]
    marks = Marks.on(torch.device("cpu"))
    marks.start()
    steers = watched_steers(job.steers, marks)
    with watched_modules(job, marks), watched_sampling(marks):
        assert RowSampling.choose is not plain[1]
        requests = [
            type(each)(each.prefix, each.params, steer) for each, steer in zip(job.requests(6), steers, strict=True)
        ]
        watched = [one.token_ids for (one,) in TorchEngine(subject.lm).sample(requests)]
    assert watched == before
    assert (RowSampling.candidates, RowSampling.choose) == plain
    assert not subject.lm.model._forward_pre_hooks
    assert not job.network.head._forward_hooks


def test_one_reward_of_many_steers_is_watched_once(subject):
    job = job_of(ROW["own-steers"], SETTING, FreshRewards(subject), seed=0)
    steers = watched_steers([*job.steers, None], Marks.on(torch.device("cpu")))
    assert steers[-1] is None
    assert len({id(steer.terms[0].reward) for steer in steers[:-1]}) == 1
