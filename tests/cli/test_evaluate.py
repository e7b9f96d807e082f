"""`trimtab evaluate` on a tiny language model in a folder."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from tiny import tiny_lm, tiny_reward
from trimtab.cli.app import app
from trimtab.errors import InvalidData, InvalidSetting

QUICK = ["--samples", "2", "--max-new-tokens", "3", "--top-k", "5", "--batch-size", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a language model, two rewards on it, prompts, preferences and labelled texts."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    lm.model.save_pretrained(folder / "lm")
    lm.tokenizer.save_pretrained(folder / "lm")
    for head in ("q", "v"):
        card = {"base": str(folder / "lm"), "base_fingerprint": lm.base_fingerprint}
        tiny_reward(lm, head, **card).save_pretrained(folder / head)
    prompts = [{"prompt": "w1 w2"}, {"prompt": ""}, {"prompt": "w3"}, {"text": "none"}, {"prompt": "w4 w5 w6"}]
    pairs = [{"chosen": "w1 w2", "rejected": "w3"}, {"chosen": "w4", "rejected": "w5 w6"}, {"chosen": 3}]
    labelled = [{"text": "What a lovely day", "label": 1}, {"text": "Awful, horrible", "label": 0}]
    for name, rows in (("some", prompts), ("pairs", pairs), ("labelled", labelled)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
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


def report_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(place, tmp_path_factory):
    """The folder of a comparison with all kinds of methods, and what the command printed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    grid = ["--reward", place / "q", "--reward", f"{place / 'q'}:calm+{place / 'v'}", "--beta", "2", "--best-of", "2"]
    return out, sentiment(place, out, *grid, "--rounds", "1")


def test_one_command_writes_a_row_for_each_method(finished):
    out, printed = finished
    assert "2 rows left out; first: line 2" in printed
    assert "5 rows, judged by vader, profanity" in printed
    methods = ("unsteered", "top-k=0", "q=2", "q-calm+v=2", "best-of-2-by-q")
    assert {path.stem for path in out.glob("*.jsonl")} == {f"some--up--{method}" for method in methods}
    rows = report_of(out)["rows"]
    assert [row["method"] for row in rows] == ["unsteered", "top-k", "q", "q:calm+v", "best of 2 by q"]
    assert all(row["time"]["ratio"] > 0 for row in rows)


def test_the_report_shows_plots_by_relative_links(finished, place):
    out, _ = finished
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert str(place) not in markdown
    for picture in ("pareto-vader.png", "pareto-profanity.png", "time.png"):
        assert f"({picture})" in markdown
        assert (out / picture).stat().st_size > 10_000


def test_a_second_run_in_a_folder_adds_rows_to_the_report(place, tmp_path):
    common = ["--beta", "2", "--rounds", "0"]
    sentiment(place, tmp_path, "--reward", place / "q", *common)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert "4 rows" in sentiment(place, tmp_path, "--reward", place / "v", *common)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


def test_a_report_from_saved_texts_equals_the_first(copied):
    first = report_of(copied)
    run("report", copied)
    assert report_of(copied) == first
    shutil.rmtree(copied / "readings")
    assert "judged by vader, profanity" in run("report", copied, "--judge", "vader", "--judge", "profanity")
    assert report_of(copied) == first


def test_a_report_measures_perplexity_and_profiles(copied, place):
    run("report", copied, "--profile", f"{place / 'v'}:calm", "--perplexity", place / "lm")
    assert all(len(row["profile"]) == 10 and "perplexity:lm" in row["figures"] for row in report_of(copied)["rows"])


def test_damaged_times_are_named(copied):
    (copied / "times.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"times\.json"):
        run("report", copied)


def test_the_same_seed_gives_the_same_table(place, tmp_path):
    tables = []
    for name, seed in (("one", "7"), ("two", "7"), ("three", "8")):
        sentiment(place, tmp_path / name, "--reward", place / "v", "--beta", "3", "--rounds", "0", "--seed", seed)
        tables.append((tmp_path / name / "report.md").read_text(encoding="utf-8"))
    assert tables[0] == tables[1] != tables[2]


def test_toxicity_steers_down(place, tmp_path):
    words = [*QUICK, "--model", place / "lm", "--rounds", "0", "--judge", "profanity", "--out", tmp_path]
    run("toxicity", "--prompts", place / "some.jsonl", *words)
    assert "steered down" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_prompts_task_has_a_limit_and_needs_a_judge(place, tmp_path):
    words = ["--down", place / "some.jsonl", *QUICK, "--model", place / "lm", "--rounds", "0", "--limit", "2"]
    run("prompts", *words, "--judge", "vader", "--out", tmp_path)
    assert [row["prompts_count"] for row in report_of(tmp_path)["rows"]] == [2, 2]
    with pytest.raises(InvalidSetting, match="no --judge"):
        run("prompts", *words, "--out", tmp_path)


def test_prompts_without_a_direction_are_refused(place, tmp_path):
    with pytest.raises(InvalidSetting, match="--up or --down"):
        run("sentiment", "--model", place / "lm", "--out", tmp_path)


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
def test_mistakes_are_refused_before_anything_is_written(place, tmp_path, words, match):
    with pytest.raises(InvalidSetting, match=match):
        sentiment(place, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_two_rewards_of_one_name_are_refused(place, tmp_path):
    shutil.copytree(place / "v", tmp_path / "q")
    with pytest.raises(InvalidSetting, match="two rewards named 'q'"):
        sentiment(place, tmp_path / "run", "--reward", place / "q", "--reward", tmp_path / "q", "--beta", "2")


def test_judges_are_measured_on_labels_and_shown_in_a_report(place, copied):
    words = ["--data", place / "labelled.jsonl", "--judge", "vader", "--task", "sentiment", "--out", copied]
    printed = run("judges", *words)
    assert "vader" in printed
    assert "1.000" in printed
    run("report", copied)
    assert "| vader | labelled (label) |" in (copied / "report.md").read_text(encoding="utf-8")


def test_preferences_compare_rewards(place, tmp_path):
    rewards = ["--reward", place / "q", "--reward", f"{place / 'v'}:calm"]
    printed = run("preference", "--data", place / "pairs.jsonl", *rewards, "--down", "--out", tmp_path / "found.json")
    assert "1 rows left out" in printed
    (of_data,) = json.loads((tmp_path / "found.json").read_text(encoding="utf-8")).values()
    assert [set(figures) for figures in of_data.values()] == [{"accuracy", "ties"}] * 2
    with pytest.raises(InvalidSetting, match="answer"):
        run("preference", "--data", place / "pairs.jsonl", *rewards, "--template", "{prompt}")
