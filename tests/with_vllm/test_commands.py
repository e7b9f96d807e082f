"""The commands over a real vLLM engine: what they write is what they write over the torch engine."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from trimtab.cli.app import app

PROMPTS = ["The new neighbours are", "My boss said that", "I never liked"]
GENERATE = ["--steer", "sentiment=+20", "--seed", "0", "--max-new-tokens", "8"]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS), encoding="utf-8")
    return path


@pytest.fixture
def trimtab(vllm_lm, smollm2, monkeypatch):
    """Return a function that runs a command with an engine; the models of this process are used."""
    lms = {"torch": smollm2, "vllm": vllm_lm}
    monkeypatch.setattr("trimtab.loading.on_engine", lambda base, engine="torch", **options: lms[engine])
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given, **options: smollm2.base)

    def run(engine, *words, status=0):
        done = CliRunner().invoke(app, [*map(str, words), "--engine", engine], env={"COLUMNS": "160"})
        assert done.exit_code == status, (done.output, done.exception)
        return done

    return run


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_generate_writes_a_file_and_resumes_it(trimtab, prompts, tmp_path):
    targets = {engine: tmp_path / f"{engine}.jsonl" for engine in ("torch", "vllm")}
    for engine, target in targets.items():
        trimtab(engine, "generate", "--input", prompts, "--output", target, "--n", 2, *GENERATE)
    found, expected = map(rows_of, (targets["vllm"], targets["torch"]))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["token_ids"] == theirs["token_ids"]
        assert ours["provenance"]["engine"] == "vllm"
        for name, values in theirs["rewards"].items():
            assert ours["rewards"][name] == pytest.approx(values, abs=1e-3)
    target = targets["vllm"]
    target.write_text("\n".join(target.read_text(encoding="utf-8").splitlines()[:3]), encoding="utf-8")
    trimtab("vllm", "generate", "--input", prompts, "--output", target, "--n", 2, *GENERATE)
    assert [row["token_ids"] for row in rows_of(target)] == [row["token_ids"] for row in expected]
    refused = trimtab("torch", "generate", "--input", prompts, "--output", target, "--n", 2, *GENERATE, status=1)
    assert "job.engine: 'vllm' there, 'torch' here" in str(refused.exception)


def test_generate_streams(trimtab):
    found = [trimtab(engine, "generate", PROMPTS[0], *GENERATE, "--stream").stdout for engine in ("vllm", "torch")]
    assert found[0] == found[1]


def test_evaluate_writes_the_same_texts_and_a_report(trimtab, prompts, tmp_path):
    words = ["evaluate", "prompts", "--up", prompts, "--reward", "sentiment", "--beta", 20, "--best-of", 2]
    words += ["--judge", "reward:sentiment-own", "--samples", 2, "--max-new-tokens", 6, "--rounds", 1]
    for engine in ("vllm", "torch"):
        trimtab(engine, *words, "--out", tmp_path / engine)
    names = sorted(path.name for path in (tmp_path / "torch").glob("*.jsonl"))
    assert len(names) == 4
    for name in names:
        found, expected = (rows_of(tmp_path / engine / name) for engine in ("vllm", "torch"))
        assert [row.get("token_ids") for row in found[1:]] == [row["token_ids"] for row in expected[1:]]
    assert "best of 2 by sentiment" in (tmp_path / "vllm" / "report.md").read_text(encoding="utf-8")


def test_rewind_searches_the_same_text(trimtab):
    words = ["rewind", "search", PROMPTS[0], "--judge", "sentiment=+1", "--seed", 0, "--max-new-tokens", 6]
    words += ["--iterations", 4, "--fresh-iterations", 2, "--similarity", "off", "--json"]
    found, expected = (json.loads(trimtab(engine, *words).stdout) for engine in ("vllm", "torch"))
    assert found["token_ids"] == expected["token_ids"]
    assert found["provenance"]["engine"] == "vllm"


def test_a_command_starts_vllm_by_itself(prompts, tmp_path, smollm2):
    words = ["-m", "trimtab", "generate", "--engine", "vllm", "--input", prompts, "--output", tmp_path / "out.jsonl"]
    command = [sys.executable, *map(str, [*words, *GENERATE])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    import trimtab

    steer = trimtab.reward("sentiment", smollm2).toward(20.0)
    expected = smollm2.generate(PROMPTS, steer, seed=0, max_new_tokens=8)
    assert [row["token_ids"] for row in rows_of(tmp_path / "out.jsonl")] == [each.token_ids for each in expected]
