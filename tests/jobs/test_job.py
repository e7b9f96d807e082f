from dataclasses import replace

import pytest

from tiny_job import JOB, rewind_job
from trimtab import errors
from trimtab.best_of_settings import BestOfSettings
from trimtab.data.json_text import dump_json, parse_json
from trimtab.jobs.job import job_of
from trimtab.jobs.ray_run import run_on_ray


@pytest.mark.parametrize("job", [JOB, replace(JOB, chat=True, system="w9"), rewind_job(stop=("w1",))])
def test_a_job_is_read_back_from_json(job):
    assert job_of(parse_json(dump_json({"job": job.record()}))) == job


def test_a_job_with_a_ranking_does_not_run_on_ray(tmp_path):
    ranked = replace(JOB, ranking=BestOfSettings(best_of=2, by="toxicity=-1"))
    with pytest.raises(errors.InvalidSetting, match="got a job with a ranking"):
        run_on_ray(tmp_path / "in", tmp_path / "out", ranked)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"job": 3},
        {"job": {"kind": "other"}},
        {"job": {"kind": "generate"}},
        {"job": {**JOB.record(), "sampling": 3}},
        {"job": {**JOB.record(), "sampling": {"top": 3}}},
        {"job": {**JOB.record(), "model": 3}},
        {"job": {**JOB.record(), "sampling": {"n": 0}}},
    ],
)
def test_a_record_that_is_no_job_is_refused(record):
    with pytest.raises(errors.InvalidData):
        job_of(record)
