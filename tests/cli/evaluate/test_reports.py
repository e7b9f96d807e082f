"""`trimtab evaluate` on a tiny language model in a folder: rows, times and reports."""

import json
import shutil
from dataclasses import replace

import pytest

from evaluate_runs import QUICK, report_of, run, sentiment
from tiny import tiny_lm
from trimtab.cli.sweep_command import load_readers
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.evaluation.run.sweep_settings import ScoringOptions
from trimtab.evaluation.tasks import find_task


def test_one_command_writes_a_row_for_each_method(finished):
    out, printed = finished
    assert "2 rows skipped: line 2" in printed
    assert "5 rows, judged by vader, profanity" in printed
    methods = ("unsteered", "top-k=0", "q=2", "both-calm+v=2", "best-of-2-by-q")
    assert {path.stem for path in out.glob("*.jsonl")} == {f"some--up--{method}" for method in methods}
    rows = report_of(out)["rows"]
    assert [row["method"] for row in rows] == ["unsteered", "top-k", "both:calm+v", "q", "best of 2 by q"]
    assert all(row["time"]["ratio"] > 0 for row in rows)


def test_the_report_shows_plots_by_relative_links(finished, place):
    out, _ = finished
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert str(place) not in markdown
    for picture in ("pareto-vader.png", "pareto-profanity.png", "time.png"):
        assert f"({picture})" in markdown
        assert (out / picture.replace(".png", ".svg")).exists()
        assert (out / picture).stat().st_size > 10_000


def test_a_second_run_in_a_folder_adds_rows_to_the_report(place, tmp_path):
    common = ["--beta", "2", "--rounds", "0"]
    sentiment(place, tmp_path, "--reward", place / "q", *common)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert "4 rows" in sentiment(place, tmp_path, "--reward", place / "v", *common)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_report_from_saved_texts_equals_the_first(copied):
    first = report_of(copied)
    run("report", copied)
    assert report_of(copied) == first
    shutil.rmtree(copied / "readings")
    assert "judged by vader, profanity" in run("report", copied, "--judge", "vader", "--judge", "profanity")
    assert report_of(copied) == first


@pytest.mark.long
def test_the_first_judge_stays_the_first(copied):
    """Also where the task's own judge is the second, and reads what it has not read."""
    shutil.rmtree(copied / "readings")
    run("report", copied, "--judge", "profanity", "--judge", "vader")
    first = report_of(copied)
    next((copied / "readings").glob("*--vader.json")).unlink()
    assert "judged by profanity, vader" in run("report", copied)
    assert report_of(copied) == first


def test_the_judges_of_a_task_read_what_they_have_not_read(copied, monkeypatch):
    first, task = report_of(copied), find_task("sentiment")
    monkeypatch.setattr("trimtab.evaluation.tasks.find_task", lambda name: replace(task, judges=("vader", "profanity")))
    next((copied / "readings").glob("*--vader.json")).unlink()
    run("report", copied)
    assert report_of(copied) == first


def test_two_judges_of_one_name_are_refused(copied, place, tmp_path):
    for name in ("lm", "q"):
        shutil.copytree(place / name, tmp_path / name)
    judges = [word for folder in (place, tmp_path) for word in ("--judge", f"reward:{folder / 'q'}:kind")]
    with pytest.raises(InvalidSetting, match="twice, expected different ones"):
        run("report", copied, *judges)


def test_a_report_measures_perplexity_and_profiles(copied, place):
    run("report", copied, "--profile", f"{place / 'both'}:calm", "--perplexity", place / "lm")
    assert all(len(row["profile"]) == 10 and "perplexity:lm" in row["figures"] for row in report_of(copied)["rows"])


def test_other_weights_are_another_reader(place, tmp_path):
    """Also where they differ in the middle of the model, where the fingerprint of the cards does not look."""
    changed, found = shutil.copytree(place / "lm", tmp_path / "lm"), []
    lm = tiny_lm("llama", seed=3)
    lm.model.model.layers[0].mlp.up_proj.weight.data *= 3
    lm.model.save_pretrained(changed)
    for model in (place / "lm", changed):
        _, identities = load_readers(ScoringOptions(perplexity=str(model)))
        found.append(identities["perplexity:lm"])
    assert found[0]["base_fingerprint"] == found[1]["base_fingerprint"]
    assert found[0] != found[1]


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


def test_plots_and_tables_are_drawn_again_from_the_record_alone(copied):
    for path in [*copied.glob("*.jsonl"), *copied.glob("*.png"), copied / "report.tex"]:
        path.unlink()
    shutil.rmtree(copied / "readings")
    run("draw", copied, "--format", "pdf", "--title", "My title")
    assert (copied / "pareto-vader.pdf").read_bytes().startswith(b"%PDF")
    assert (copied / "report.md").read_text(encoding="utf-8").startswith("# My title")
    assert "My title" in (copied / "report.tex").read_text(encoding="utf-8")
    with pytest.raises(InvalidData, match=r"report\.json"):
        run("draw", copied / "readings")


def test_every_row_says_what_made_it(finished, place):
    out, _ = finished
    for row in report_of(out)["rows"]:
        (maker,) = row["made_by"]
        assert maker.keys() >= {"trimtab", "torch", "transformers", "device", "dtype", "base_fingerprint", "sampling"}
        assert maker["data"]["name"] == "some"
        assert len(maker["data"]["sha256"]) == 64
    (steered,) = (row for row in report_of(out)["rows"] if row["method"] == "q")
    assert steered["made_by"][0]["steer"][0]["beta"] == 2.0
    readers = report_of(out)["measured_by"]["readers"]
    assert "vaderSentiment" in readers["vader"]["library"]


def test_searches_take_settings_and_are_timed_once(place, tmp_path):
    search = ["--iterations", "2", "--fresh-iterations", "1", "--children", "2"]
    search += ["--similarity-threshold", "2", "--draft-tokens", "2"]
    sentiment(place, tmp_path, "--rewind", place / "q", *search, "--rounds", "2", "--limit", "1")
    (row,) = (row for row in report_of(tmp_path)["rows"] if row["method"].startswith("rewound"))
    assert (row["search"]["iterations"], row["search"]["children"], row["search"]["max_children"]) == (2, 2, 20)
    assert row["time"]["runs"] == 1
    (plain,) = (row for row in report_of(tmp_path)["rows"] if row["method"] == "top-k")
    assert plain["time"]["runs"] == 2


@pytest.mark.long
def test_methods_are_timed_again_for_other_settings_alone(place, tmp_path):
    def times(*more):
        sentiment(place, tmp_path, "--reward", place / "q", "--rounds", "1", "--limit", "1", *more)
        return json.loads((tmp_path / "times.json").read_text(encoding="utf-8"))

    first = times("--beta", "2")
    assert times("--beta", "3") == first
    for row in tmp_path.glob("*.jsonl"):
        row.unlink()
    second = times("--beta", "2", "--top-k", "5")
    assert second.keys() == first.keys()
    assert {time["settings"]["top_k"] for time in second.values()} == {5}


def test_a_reward_whose_scores_are_not_finite_is_not_ranked(place, tmp_path, monkeypatch):
    from trimtab.errors import NonFiniteReward
    from trimtab.rewards.reward_model import RewardModel

    score_ids = RewardModel.score_ids

    def broken(self, ids):
        scored = score_ids(self, ids)
        return scored._replace(values=scored.values * float("nan"))

    monkeypatch.setattr(RewardModel, "score_ids", broken)
    with pytest.raises(NonFiniteReward, match="'q'"):
        run("preference", "--data", place / "pairs.jsonl", "--reward", place / "q", "--out", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_a_folder_of_an_earlier_version_is_reported_and_resumes(copied, place):
    """Its rows do not say what made them, and its readings not what the judges are made of."""
    for path in copied.glob("*.jsonl"):
        head, rest = path.read_text(encoding="utf-8").split("\n", 1)
        settings = json.loads(head)["settings"]
        del settings["weights_fingerprint"]
        path.write_text(json.dumps({"settings": settings}) + "\n" + rest, encoding="utf-8")
    for path in copied.glob("readings/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        record["about"].pop("identity")
        path.write_text(json.dumps(record).replace("[0.5]", "[NaN]"), encoding="utf-8")
    before = {path.name: path.read_bytes() for path in copied.glob("*.jsonl")}
    run("report", copied)
    assert "the version is not recorded" in (copied / "report.md").read_text(encoding="utf-8")
    sentiment(place, copied, "--reward", place / "q", "--beta", "2", "--rounds", "0")
    assert {path.name: path.read_bytes() for path in copied.glob("*.jsonl")} == before
