"""`trimtab evaluate` in this process, with few and short texts."""

import json

from typer.testing import CliRunner

from trimtab.cli.app import app

QUICK = ["--samples", "2", "--max-new-tokens", "3", "--top-k", "5", "--batch-size", "2"]


def run(*words, code=0):
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def sentiment(place, out, *more):
    prompts = ["--up", place / "some.jsonl", "--model", place / "lm", "--judge", "vader", "--judge", "profanity"]
    return run("sentiment", *prompts, *QUICK, "--out", out, *more)


def report_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))
