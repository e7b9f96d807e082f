"""What `trimtab evaluate` refuses, before weights load and anything is written."""

import contextlib
import shutil

import pytest

from evaluate_runs import QUICK, report_of, run, sentiment
from trimtab.errors import InvalidData, InvalidOutput, InvalidSetting, RewardNotFound, TrimtabError


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


SEVERAL = "got 'both', which has several rewards, expected both:kind or both:calm"
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
    (["--fresh-iterations", "3"], "got --fresh-iterations, expected --rewind with it"),
    (["--rewind", "q", "--search-max-kl", "1"], "got --search-max-kl, expected --rewind-beta with it"),
    (["--judge", "lm"], "no classifier, but a language model"),
    (["--judge", "vader"], "'vader' twice"),
    (["--judge", "onnx:/nowhere"], "one .onnx file"),
    (["--judge", "./nowhere"], "no such folder"),
    (["--judge", "reward:nowhere/at-all"], "nowhere/at-all"),
    (["--profile", "toxicity:nothing"], "nothing"),
    (["--profile", "both"], SEVERAL),
    (["--judge", "reward:both"], SEVERAL),
    (["--reward", "q+both", "--beta", "1"], SEVERAL),
    (["--by", "both", "--best-of", "2"], SEVERAL),
    (["--rewind", "both"], SEVERAL),
    (["--reward", "q+", "--beta", "1"], "joined by"),
]


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
