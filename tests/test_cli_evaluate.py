"""`trimtab evaluate`, as it is typed, on a tiny language model in a folder."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.cli.app import app

QUICK = ["--samples", "2", "--max-new-tokens", "3", "--top-k", "5", "--batch-size", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a language model, two rewards on it, prompts, and preferences."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    lm.model.save_pretrained(folder / "lm")
    lm.tokenizer.save_pretrained(folder / "lm")
    for head in ("q", "v"):
        card = {"base": str(folder / "lm"), "base_fingerprint": lm.base_fingerprint}
        tiny_reward(lm, head, **card).save_pretrained(folder / head)
    prompts = [{"prompt": "w1 w2"}, {"prompt": ""}, {"prompt": "w3"}, {"text": "none"}, {"prompt": "w4 w5 w6"}]
    (folder / "some.jsonl").write_text("\n".join(map(json.dumps, prompts)), encoding="utf-8")
    pairs = [{"chosen": "w1 w2", "rejected": "w3"}, {"chosen": "w4", "rejected": "w5 w6"}, {"chosen": 3}]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    labelled = [{"text": "What a lovely day", "label": 1}, {"text": "Awful, horrible", "label": 0}]
    (folder / "labelled.jsonl").write_text("\n".join(map(json.dumps, labelled)), encoding="utf-8")
    return folder


def run(*words, code=0):
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)], env={"COLUMNS": "160"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def sentiment(place, out, *more):
    prompts = ["--up", place / "some.jsonl", "--model", place / "lm", "--judge", "vader", "--judge", "profanity"]
    return run("sentiment", *prompts, *QUICK, "--out", out, *more)


def test_one_command_writes_times_judges_and_reports(place, tmp_path):
    out = tmp_path / "run"
    grid = ["--reward", place / "q", "--reward", f"{place / 'q'}:calm+{place / 'v'}", "--beta", "2", "--best-of", "2"]
    said = sentiment(place, out, *grid, "--rounds", "1")
    assert "2 rows left out; first: line 2" in said
    assert "5 rows, judged by vader, profanity" in said
    names = {
        "some--up--unsteered",
        "some--up--top-k=0",
        "some--up--q=2",
        "some--up--q-calm+v=2",
        "some--up--best-of-2-by-q",
    }
    assert {path.stem for path in out.glob("*.jsonl")} == names
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in report["rows"]] == ["unsteered", "top-k", "q", "q:calm+v", "best of 2 by q"]
    assert all(row["time"]["ratio"] > 0 for row in report["rows"])
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert str(place) not in markdown
    for picture in ("pareto-vader.png", "pareto-profanity.png", "time.png"):
        assert f"({picture})" in markdown
        assert (out / picture).stat().st_size > 10_000


def test_more_rows_join_and_a_report_alone_writes_no_text(place, tmp_path):
    out = tmp_path / "run"
    sentiment(place, out, "--reward", place / "q", "--beta", "2", "--rounds", "0")
    before = {path.name: path.read_bytes() for path in out.glob("*.jsonl")}
    assert "4 rows" in sentiment(place, out, "--reward", place / "v", "--beta", "2", "--rounds", "0")
    first = json.loads((out / "report.json").read_text(encoding="utf-8"))
    run("report", out)
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == first
    shutil.rmtree(out / "readings")
    said = run("report", out, "--judge", "vader", "--judge", "profanity")
    assert "judged by vader, profanity" in said
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == first
    (out / "times.json").write_text("{", encoding="utf-8")
    with pytest.raises(errors.InvalidData, match=r"times\.json"):
        run("report", out)
    (out / "times.json").unlink()
    run("report", out, "--profile", f"{place / 'v'}:calm", "--perplexity", place / "lm")
    again = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert all(len(row["profile"]) == 10 and "perplexity:lm" in row["figures"] for row in again["rows"])
    assert {name: (out / name).read_bytes() for name in before} == before


def test_the_same_seed_gives_the_same_table(place, tmp_path):
    tables = []
    for name in ("one", "two"):
        sentiment(place, tmp_path / name, "--reward", place / "v", "--beta", "3", "--rounds", "0", "--seed", "7")
        tables.append((tmp_path / name / "report.md").read_text(encoding="utf-8"))
    assert tables[0] == tables[1]
    sentiment(place, tmp_path / "three", "--reward", place / "v", "--beta", "3", "--rounds", "0", "--seed", "8")
    assert (tmp_path / "three" / "report.md").read_text(encoding="utf-8") != tables[0]


def test_toxicity_and_any_prompts(place, tmp_path):
    common = [*QUICK, "--model", place / "lm", "--rounds", "0", "--limit", "2"]
    run("toxicity", "--prompts", place / "some.jsonl", *common, "--judge", "profanity", "--out", tmp_path / "t")
    assert "steered down" in (tmp_path / "t" / "report.md").read_text(encoding="utf-8")
    run("prompts", "--down", place / "some.jsonl", *common, "--judge", "vader", "--out", tmp_path / "p")
    report = json.loads((tmp_path / "p" / "report.json").read_text(encoding="utf-8"))
    assert [row["prompts_count"] for row in report["rows"]] == [2, 2]
    with pytest.raises(errors.InvalidSetting, match="no --judge"):
        run("prompts", "--down", place / "some.jsonl", *common, "--out", tmp_path / "p")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--reward", "q"], "without --beta"),
        (["--beta", "3"], "without --reward"),
        (["--reward", "q", "--beta", "-3"], "above 0"),
        (["--judge", "profanty"], "mean 'profanity'"),
        (["--best-of", "4"], "without --by"),
        (["--best-of", "1", "--by", "q"], "at least 2"),
        (["--samples", "0"], "samples"),
        (["--judge", "nobody/known"], "expected vader"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(place, tmp_path, words, match):
    with pytest.raises(errors.InvalidSetting, match=match):
        sentiment(place, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_two_rewards_of_one_name_are_refused(place, tmp_path):
    shutil.copytree(place / "v", tmp_path / "q")
    with pytest.raises(errors.InvalidSetting, match="two rewards named 'q'"):
        sentiment(place, tmp_path / "run", "--reward", place / "q", "--reward", tmp_path / "q", "--beta", "2")


def test_judges_are_measured_and_kept_for_a_report(place, tmp_path):
    said = run(
        *("judges", "--data", place / "labelled.jsonl", "--judge", "vader", "--task", "sentiment"),
        *("--out", tmp_path / "run"),
    )
    assert "vader" in said
    assert "1.000" in said
    sentiment(place, tmp_path / "run", "--rounds", "0")
    assert "| vader | labelled (label) |" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


def test_preferences_compare_rewards(place, tmp_path):
    rewards = ["--reward", place / "q", "--reward", f"{place / 'v'}:calm"]
    said = run("preference", "--data", place / "pairs.jsonl", *rewards, "--down", "--out", tmp_path / "found.json")
    assert "1 rows left out" in said
    (of_data,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8")).values()
    assert [set(figures) for figures in of_data.values()] == [{"accuracy", "ties"}] * 2
    with pytest.raises(errors.InvalidSetting, match="answer"):
        run("preference", "--data", place / "pairs.jsonl", *rewards, "--template", "{prompt}")
