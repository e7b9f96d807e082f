"""The command line on the embedded model: what it prints, and what it says when given the wrong thing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def trimtab(*arguments, check=True):
    done = subprocess.run([BIN / "trimtab", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_help_teaches():
    assert "generate" in trimtab("--help").stdout
    for command in (["generate"], ["score"], ["rewards", "list"], ["train", "labels"]):
        shown = trimtab(*command, "--help").stdout
        assert "Usage" in shown
    assert "--steer toxicity=-30" in " ".join(trimtab("generate", "--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["generate"], "no prompts"),
        (["generate", "Hi", "--input", "x.jsonl"], "--output"),
        (["generate", "Hi", "--steer", "toxicity"], "NAME=+BETA"),
        (["generate", "Hi", "--steer", "toxicity=many"], "NAME=+BETA"),
        (["generate", "Hi", "--steer", "toxicity=inf"], "NAME=+BETA"),
        (["generate", "Hi", "--top-k", "-3"], "top_k=-3"),
        (["generate", "Hi", "There", "--stream"], "--stream"),
        (["rewards", "show", "nonsense"], "sentiment"),
        (["score", "--reward", "sentiment"], "--text or --input"),
        (["train", "labels", "--data", "none.jsonl", "--out", "x"], "no such file"),
        (["train", "labels", "--data", "none.jsonl", "--out", "x", "--rank", "0"], "rank"),
        (["train", "labels", "--data", "none.jsonl", "--out", "x", "--layers", "0"], "layers"),
        (["train", "labels", "--data", "none.jsonl", "--out", Path(__file__).parent], "it holds"),
        (["train", "labels", "--data", "none.jsonl", "--out", "x", "--column", "a", "--column", "b"], "2 columns"),
        (["generate", "Hi", "--method", "magic"], "arm or rad"),
        (["generate", "Hi", "--show-rewards", "--json"], "--show-rewards"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(arguments, expected):
    done = trimtab(*arguments, check=False)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    assert done.stdout == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["generate", "Hi", "--model", "no-such-model"], "smollm2"),
        (["generate", "Hi", "--steer", "nonsense=+1"], "toxicity"),
        (["generate", "Hi", "--steer", "sentiment:rude=+1"], "positive"),
        (["generate", "Hi", "--top-k", "100000"], "49152"),
        (["generate", ""], "empty prompt"),
        (["generate", "word " * 9000], "8192"),
    ],
)
def test_a_mistake_found_with_the_model_is_one_line_too(arguments, expected):
    done = trimtab(*arguments, check=False)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arm", "rad"])
def test_generate_prints_json(method):
    options = ["--seed", 1, "--n", 2, "--max-new-tokens", 5, "--method", method, "--json"]
    done = trimtab("generate", "The food was", "--steer", "sentiment=+20", *options)
    rows = [json.loads(line) for line in done.stdout.strip().split("\n")]
    assert [row["sample"] for row in rows] == [0, 1]
    for row in rows:
        assert row["prompt"] == "The food was"
        assert "".join(row["tokens"]) == row["text"]
        ((name, rewards),) = row["rewards"].items()
        assert name == {"arm": "sentiment:positive", "rad": "sentiment-rad:positive"}[method]
        assert len(rewards) == len(row["tokens"])


@pytest.mark.slow
def test_stream_prints_what_generate_prints():
    options = ["The food was", "--seed", 1, "--max-new-tokens", 8, "--steer", "toxicity=-20"]
    assert trimtab("generate", *options, "--stream").stdout == trimtab("generate", *options).stdout


@pytest.mark.slow
def test_piped_text_has_no_line_breaks_of_its_own():
    options = ["The food was", "--seed", 1, "--max-new-tokens", 40]
    row = json.loads(trimtab("generate", *options, "--json").stdout)
    assert trimtab("generate", *options).stdout == row["prompt"] + row["text"] + "\n"


@pytest.mark.slow
def test_an_output_that_cannot_be_written_is_named(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "Hi"}\n')
    done = trimtab("generate", "--input", source, "--output", source / "out.jsonl", check=False)
    assert done.returncode == 1
    assert "in.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_file_of_prompts_goes_on_where_it_stopped(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "The food was"}\nbroken\n{"prompt": "She said"}\n', encoding="utf-8")
    command = ["generate", "--input", source, "--output", target, "--max-new-tokens", 4, "--chat"]
    done = trimtab(*command, check=False)
    assert done.returncode == 1
    assert "line 2" in done.stderr
    first = target.read_text(encoding="utf-8")
    target.write_text(first.split("\n")[0] + "\n", encoding="utf-8")
    trimtab(*command, check=False)
    assert target.read_text(encoding="utf-8") == first


@pytest.mark.slow
def test_score_tells_good_from_bad(tmp_path):
    texts = ["What a wonderful, happy film", "What a dreadful, boring mess"]
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"text": texts[1]}) + "\n", encoding="utf-8")
    for method in ("arm", "rad"):
        command = ["score", "--reward", "sentiment", "--method", method, "--json", "--prefixes"]
        done = trimtab(*command, "--text", texts[0], "--input", source)
        good, bad = (json.loads(line) for line in done.stdout.strip().split("\n"))
        assert good["rewards"]["positive"] > 0.7 > 0.3 > bad["rewards"]["positive"]
        assert good["prefix_rewards"]["positive"][-1] == good["rewards"]["positive"]
        assert "".join(good["tokens"]) == texts[0]


@pytest.mark.slow
def test_training_makes_a_reward_that_steers(tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"text": f"{'good' if i % 2 else 'bad'} thing number {i}", "label": i % 2} for i in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = tmp_path / "reward"
    options = ["--layers", 1, "--rank", 2, "--lora-rank", 1, "--batch-size", 10, "--warmup-steps", 1]
    done = trimtab("train", "labels", "--data", data, "--out", out, *options)
    assert "accuracy:label" in done.stderr
    shown = json.loads(trimtab("rewards", "show", out).stdout)
    assert shown["provenance"]["command"].startswith("trimtab train labels --data data.jsonl")
    written = trimtab("generate", "Hello", "--steer", f"{out}:label=-5", "--max-new-tokens", 3, "--json", "--seed", 0)
    assert list(json.loads(written.stdout)["rewards"]) == ["reward:label"]
