"""`--retokenize`: a reward of another tokenizer steers, judges and is compared at once, on the command line."""

import json

import pytest
from typer.testing import CliRunner

from byte_lm import byte_lm
from tiny import save_lm
from trimtab.cli.app import app

PROMPT = "w1 w2"


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """The folder of a language model of another tokenizer than the trained reward's."""
    folder = tmp_path_factory.mktemp("foreign") / "lm"
    lm = byte_lm("llama", merges=[("w", "1"), ("Ġ", "w")])
    save_lm(lm, folder)
    return folder


@pytest.fixture(scope="session")
def teacher(place, trained):
    return place / "teacher"


@pytest.fixture
def generate(trimtab, foreign, teacher):
    def run(*more, **options):
        words = ["--model", foreign, "--steer", f"{teacher}=9", "--seed", 1, "--max-new-tokens", 4, "--top-k", 4]
        return trimtab("generate", *words, *more, **options)

    return run


def test_it_steers_and_the_rows_can_be_written_again(generate, trimtab, teacher, tmp_path):
    prompts, rows = tmp_path / "prompts.jsonl", tmp_path / "rows.jsonl"
    prompts.write_text(json.dumps({"prompt": PROMPT}), encoding="utf-8")
    generate("--input", prompts, "--output", rows, "--retokenize")
    (row,) = map(json.loads, rows.read_text(encoding="utf-8").splitlines())
    assert row["provenance"]["job"]["retokenize"]
    assert row["provenance"]["steer"][0]["retokenized_for"] == row["provenance"]["tokenizer_fingerprint"]
    scored = trimtab("score", "--reward", teacher, "--text", PROMPT + row["text"].rstrip("\ufffd"), "--json").stdout
    (rewards,) = json.loads(scored)["rewards"].values()
    (of_tokens,) = row["rewards"].values()
    assert of_tokens[-1] == pytest.approx(rewards, abs=1e-4)
    assert "1 the same" in trimtab("replay", rows).stdout


def test_without_it_the_error_shows_the_commands(generate, foreign, teacher):
    done = generate(PROMPT, check=False)
    assert done.status == 1
    assert f"trimtab adapt {teacher} --model {foreign}" in done.stderr
    assert f"trimtab generate 'I think that' --model {foreign} --steer {teacher}=+30 --retokenize" in done.stderr


def test_a_search_is_judged_and_steered(trimtab, foreign, teacher):
    words = [
        "--model",
        foreign,
        "--judge",
        f"{teacher}=+1",
        "--steer",
        f"{teacher}=5",
        "--max-iterations",
        2,
        "--seed",
        1,
    ]
    done = trimtab("rewind", PROMPT, *words, "--max-new-tokens", 3, "--json", "--retokenize")
    assert json.loads(done.stdout)["provenance"]["job"]["retokenize"]
    refused = trimtab("rewind", PROMPT, *words, check=False)
    assert (refused.status, "--retokenize" in refused.stderr) == (1, True)


def test_a_comparison_has_a_row_of_it(trimtab, foreign, teacher, tmp_path):
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": PROMPT}), encoding="utf-8")
    words = ["--model", foreign, "--up", tmp_path / "prompts.jsonl", "--reward", teacher, "--beta", 5, "--samples", 1]
    words += ["--max-new-tokens", 2, "--top-k", 4, "--rounds", 0, "--judge", "vader", "--out", tmp_path / "out"]
    assert trimtab("evaluate", "sentiment", *words, "--retokenize").status == 0
    assert "teacher" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["generate", "rewind search", "rewind calibrate", "evaluate toxicity", "serve"])
def test_every_command_that_loads_rewards_for_a_model_has_it(command):
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert "--retokenize" in done.output
