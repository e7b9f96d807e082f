"""`trimtab evaluate` on a tiny language model in a folder."""

import contextlib
import json
import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

import trimtab
from tiny import save_lm, tiny_lm, tiny_reward
from tiny_chat import TEMPLATE
from trimtab.cli.app import app
from trimtab.cli.sweep_command import load_readers
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting, RewardNotFound, TrimtabError
from trimtab.evaluation.run.sweep_settings import ScoringOptions
from trimtab.evaluation.tasks import find_task

QUICK = ["--samples", "2", "--max-new-tokens", "3", "--top-k", "5", "--batch-size", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, the same with a chat template, two rewards, prompts, preferences and labelled texts."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
    shutil.copytree(folder / "lm", folder / "chat")
    (folder / "chat" / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
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
    assert "2 rows skipped: line 2" in printed
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
        assert (out / picture.replace(".png", ".svg")).exists()
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
    run("report", copied, "--profile", f"{place / 'v'}:calm", "--perplexity", place / "lm")
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
    assert "1 row skipped" in printed
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    (of_data,) = written["figures"].values()
    assert [set(figures) for figures in of_data.values()] == [{"accuracy", "ties"}] * 2
    made_by = written["made_by"]
    assert made_by.keys() >= {"trimtab", "torch", "transformers", "scorers", "data", "template"}
    assert len(made_by["data"]["pairs"]["sha256"]) == 64
    assert all(of["fingerprint"] and of["base_fingerprint"] for of in made_by["scorers"].values())
    assert {of["direction"] for of in made_by["scorers"].values()} == {"down"}


def test_preferences_compare_judges_with_rewards(place, tmp_path):
    """A reward as a judge is clamped, which ties pairs and swaps none; a classifier has a sign of its own."""
    rows = [{"prompt": f"w{n}", "chosen": f"w{n + 1} w2", "rejected": f"w{n + 2}"} for n in range(8)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    both = [
        "--reward",
        place / "q",
        "--judge",
        f"{place / 'q'}:kind=+1",
        "--judge",
        "vader=-1",
        "--model",
        place / "lm",
    ]
    words = ["preference", "--data", tmp_path / "texts.jsonl", *both, "--template", "{prompt} {answer}"]
    run(*words, "--out", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    reward, judge, vader = written["figures"]["texts"].values()
    accuracy, ties = judge["accuracy"]["value"], judge["ties"]["value"]
    assert 0 < accuracy <= reward["accuracy"]["value"] <= accuracy + ties
    assert vader["ties"]["value"] == 1
    made_of = list(written["made_by"]["scorers"].values())
    assert made_of[1]["model"]["weights_fingerprint"]
    assert made_of[2]["avoid"] == "true"


def test_preference_needs_something_to_measure(place, without_weights):
    for more, match in (
        ([], "neither --reward nor --judge"),
        (["--judge", "vader"], "got the judge"),
        (["--judge", "vader=+1", "--judge", "vader=+1"], "twice|different"),
        (["--judge", "self:nowhere"], "nowhere"),
        (["--judge", "vader=+1", "--model", "nowhere"], "nowhere"),
    ):
        with pytest.raises(TrimtabError, match=match):
            run("preference", "--data", place / "pairs.jsonl", *more)


BAD = [
    (["--rounds", "-1"], "--rounds -1"),
    (["--limit", "0"], "--limit 0"),
    (["--beta", "nan", "--reward", "q"], "--beta nan"),
    (["--seed", "-1"], "--seed -1"),
    (["--temperature", "nan"], "--temperature nan"),
    (["--temperature", "0"], "temperature"),
    (["--max-new-tokens", "-3"], "--max-new-tokens -3"),
    (["--format", "gif"], "expected one of png, svg, pdf"),
    (["--iterations", "0"], "--iterations 0"),
    (["--top-k", "65"], "--top-k 65, expected at most the vocabulary size, 64"),
    (["--rewind", "q", "--search-top-k", "65"], "--search-top-k 65, expected at most the vocabulary size, 64"),
    (["--judge", "lm"], "no classifier, but a language model"),
    (["--judge", "vader"], "'vader' twice"),
    (["--judge", "onnx:/nowhere"], "one .onnx file"),
    (["--judge", "./nowhere"], "no such folder"),
    (["--judge", "reward:nowhere/at-all"], "nowhere/at-all"),
    (["--profile", "toxicity:nothing"], "nothing"),
    (["--reward", "q+", "--beta", "1"], "joined by"),
]


@pytest.fixture
def without_weights(monkeypatch, tmp_path):
    """No weights load, and nothing is downloaded."""

    def refuse(*given, **named):
        raise AssertionError("weights were loaded")

    for name in ("trimtab.cli.sweep_command.load_language_model", "trimtab.models.loading.load_frozen_lm"):
        monkeypatch.setattr(name, refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize(("words", "match"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bad_values_are_refused_before_weights_load(place, tmp_path, without_weights, words, match):
    with contextlib.chdir(place), pytest.raises(TrimtabError, match=match):
        sentiment(place, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_rewards_and_prompts_are_checked_before_weights_load(place, tmp_path, without_weights):
    steered = ["--beta", "2", "--reward"]
    with pytest.raises(RewardNotFound):
        sentiment(place, tmp_path / "run", *steered, place / "none")
    with pytest.raises(TrimtabError, match="tokenizer"):
        sentiment(place, tmp_path / "run", *steered, "sentiment")
    with pytest.raises(InvalidData, match=r"none\.jsonl"):
        run("sentiment", "--up", place / "none.jsonl", "--model", place / "lm", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["sentiment", "judges"])
def test_an_out_that_is_no_folder_is_refused_before_weights_load(place, tmp_path, without_weights, command):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    words = {
        "sentiment": ["sentiment", "--up", place / "some.jsonl", "--model", place / "lm"],
        "judges": ["judges", "--data", place / "labelled.jsonl", "--judge", "vader"],
    }[command]
    for out in (tmp_path / "file", "/dev/full", tmp_path / "file" / "below"):
        with pytest.raises(InvalidOutput, match="--out"):
            run(*words, "--out", out)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_files_of_others_in_the_folder_are_kept_without_force(place, tmp_path, without_weights):
    (tmp_path / "report.md").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidOutput, match="--force"):
        sentiment(place, tmp_path)
    with pytest.raises(AssertionError, match="weights were loaded"):
        sentiment(place, tmp_path, "--force")


def test_preference_replaces_no_file_and_no_input(place, tmp_path, without_weights):
    data = shutil.copy(place / "pairs.jsonl", tmp_path)
    (tmp_path / "mine.json").write_text("mine", encoding="utf-8")
    words = ["preference", "--data", data, "--reward", place / "q"]
    for out, match in ((data, "input"), (tmp_path / "mine.json", "--force"), ("/dev/full", "regular file")):
        with pytest.raises(InvalidOutput, match=match):
            run(*words, "--out", out)
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--template", "{prompt}"], "answer"),
        (["--template", "{x}{answer}"], "template"),
        (["--limit", "0"], "got --limit 0"),
        (["--reward", "nowhere/at-all"], "nowhere"),
        (["--judge", "profanity=-1", "--judge-soft"], "--judge-soft with --judge"),
        (["--judge-chat"], "--judge-chat with no --judge"),
    ],
)
def test_bad_values_of_preference_are_refused_before_weights_load(place, without_weights, words, match):
    with pytest.raises(TrimtabError, match=match):
        run("preference", "--data", place / "pairs.jsonl", "--reward", place / "q", *words)


def test_bad_values_of_judges_are_refused(place, tmp_path):
    words = ["judges", "--data", place / "labelled.jsonl", "--judge"]
    for more, match in (
        (["vader", "--limit", "0"], "got --limit 0"),
        (["vadr"], "mean 'vader'"),
        (["vader", "--task", "x"], "task"),
    ):
        with pytest.raises(TrimtabError, match=match):
            run(*words, *more)
    (tmp_path / "judges.json").write_text("{", encoding="utf-8")
    with pytest.raises(InvalidData, match=r"judges\.json"):
        run(*words, "vader", "--out", tmp_path)


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


CHAT_BY_TASK = {
    "toxicity": ["--prompts", "some.jsonl"],
    "sentiment": ["--up", "some.jsonl"],
    "prompts": ["--up", "some.jsonl", "--judge", "vader"],
}


@pytest.mark.parametrize("task", CHAT_BY_TASK)
def test_a_task_sends_its_prompts_as_messages(place, tmp_path, task):
    words = [*QUICK, "--reward", "q", "--beta", "2", "--rounds", "1", "--chat", "--judge", "profanity"]
    with contextlib.chdir(place):
        printed = run(task, *CHAT_BY_TASK[task], "--model", "chat", *words, "--out", tmp_path / "run")
        again = run("report", tmp_path / "run", "--perplexity", "chat")
    lm = trimtab.load(place / "chat")
    expected = lm.generate([[{"role": "user", "content": "w1 w2"}]], n=2, max_new_tokens=3, top_k=5, seed=0)
    (path,) = (tmp_path / "run").glob("*--top-k=0.jsonl")
    texts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:3]]
    assert [text["text"] for text in texts] == [each.text for each in expected[0].samples]
    assert {text["prompt"] for text in texts} == {"w1 w2"}
    assert "3 rows" in printed
    assert "3 rows" in again
    assert all(
        row["time"]["ratio"] > 0 and "perplexity:chat" in row["figures"] for row in report_of(tmp_path / "run")["rows"]
    )
    assert "Chat: each prompt is one user message" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (["--model", "lm", "--chat"], "lm"),
        (["--model", "lm", "--system", "w1"], "lm"),
        (["--model", "chat", "--chat", "--perplexity", "lm"], "lm"),
        (["--model", "chat", "--chat", "--profile", "v"], "lm"),
    ],
)
def test_models_without_a_chat_template_are_refused_before_weights_load(place, tmp_path, without_weights, words, model):
    with contextlib.chdir(place), pytest.raises(InvalidSetting, match=f"{model} has no chat template"):
        run("sentiment", "--up", "some.jsonl", *words, *QUICK, "--judge", "vader", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_comparison_of_plain_prompts_does_not_resume_as_a_chat(place, tmp_path):
    words = ["--up", "some.jsonl", *QUICK, "--model", "chat", "--judge", "vader", "--rounds", "0", "--out", tmp_path]
    with contextlib.chdir(place):
        run("sentiment", *words)
        before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
        with pytest.raises(InvalidData, match="chat: False there, True here"):
            run("sentiment", *words, "--chat")
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == before


def test_choices_compare_steers(place, tmp_path):
    rows = [{"prompt": f"w{n} w{n + 1}", "choices": [" w1", " w2"], "answer": n % 2} for n in range(5)]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, [*rows, {"prompt": "w1"}])), encoding="utf-8")
    words = [
        "choices",
        "--data",
        tmp_path / "asked.jsonl",
        "--model",
        place / "lm",
        "--steer",
        f"{place / 'q'}:kind=+0",
    ]
    printed = run(*words, "--steer", f"{place / 'q'}:kind=+50", "--out", tmp_path / "found.json")
    assert "1 row skipped" in printed
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    unsteered, nothing, strong = written["figures"].values()
    assert unsteered["accuracy"] == nothing["accuracy"]
    assert 0 <= strong["accuracy"]["value"] <= 1
    assert unsteered["chance"]["value"] == 0.5
    assert written["made_by"]["data"]["questions"] == 5
    assert [of[0]["beta"] for of in written["made_by"]["steer"].values()] == [0.0, 50.0]


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--limit", "0"], "got --limit 0"),
        (["--top-k", "-1"], "got --top-k -1"),
        (["--top-k", "65"], "--top-k 65, expected at most the vocabulary size, 64"),
        (["--steer", "nowhere=1"], "nowhere"),
        (["--steer", "q"], "expected NAME"),
        (["--data", "nowhere.jsonl"], "nowhere"),
    ],
)
def test_bad_values_of_choices_are_refused_before_weights_load(place, tmp_path, without_weights, words, match):
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "w1", "choices": ["a", "b"], "answer": 0}))
    with pytest.raises(TrimtabError, match=match):
        run("choices", "--model", place / "lm", "--data", tmp_path / "asked.jsonl", *words)
