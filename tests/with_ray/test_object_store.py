"""A job whose files are in S3, as moto's server on this machine plays it. The command is killed in the middle."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

from ray_processes import BATCH, PROMPTS, kill, rows_of

MISSING = [name for name in ("moto", "s3fs") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed here; make test-ray installs them")
BUCKET = "texts"


@pytest.fixture
def s3(monkeypatch):
    """An S3 of one bucket, and what a process needs to find it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    for name, value in (found | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    yield client
    server.stop()


def names(s3, prefix):
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
    return sorted(each["Key"].removeprefix(f"{prefix}/") for each in found)


def downloaded(s3, folder):
    folder.mkdir(exist_ok=True)
    for name in names(s3, "out"):
        s3.download_file(BUCKET, f"out/{name}", str(folder / name))
    return rows_of(folder)


def test_a_job_in_s3_that_is_killed_resumes_at_its_shards(place, job, cluster, expected, s3, tmp_path):
    for path in (place / "in").iterdir():
        s3.upload_file(str(path), BUCKET, f"in/{path.name}")
    words = [sys.executable, "-m", "trimtab", "generate", "--ray", cluster.address, "--actors", "2"]
    words += ["--input", f"s3://{BUCKET}/in/part-*.jsonl", "--output", f"s3://{BUCKET}/out", "--batch-size", BATCH]
    words += ["--model", job.model, "--steer", job.steer[0], "--n", job.sampling.n, "--top-k", job.sampling.top_k]
    words += ["--max-new-tokens", job.sampling.max_new_tokens, "--seed", job.sampling.seed]
    command, env = list(map(str, words)), os.environ | {"OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        until = time.monotonic() + 120
        while driver.poll() is None and "part-0.jsonl" not in names(s3, "out") and time.monotonic() < until:
            time.sleep(0.05)
        kill(driver.pid)
        driver.wait()
    before = downloaded(s3, tmp_path / "before")
    assert before["part-0.jsonl"] == expected["part-0.jsonl"], (tmp_path / "log").read_text()
    assert len(before) < len(expected)
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stderr
    where = f"all others are in s3://{BUCKET}/out: part-1.jsonl: line {PROMPTS + 1}: not JSON"
    assert f"s3://{BUCKET}/in/part-*.jsonl: 1 line skipped, {where}" in " ".join(done.stderr.split())
    assert downloaded(s3, tmp_path / "after") == expected


def test_a_bucket_that_is_not_there_is_our_error(job, place, s3):
    words = ["generate", "--ray", "local", "--input", "s3://nowhere/in", "--output", "out", "--model", job.model]
    done = subprocess.run([sys.executable, "-m", "trimtab", *words], capture_output=True, text=True)
    assert done.returncode == 1
    assert "got --input 's3://nowhere/in'" in done.stderr
    assert "Traceback" not in done.stderr
