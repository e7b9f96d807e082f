"""`trimtab replay`."""

import json
import shutil

import pytest


@pytest.fixture
def texts(trimtab, place, teacher, tmp_path):
    """Two prompts with two steered samples each, in a file."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1 w2"}\n{"prompt": "w3"}\n', encoding="utf-8")
    target = tmp_path / "out.jsonl"
    words = ["--model", place / "lm", "--n", 2, "--max-new-tokens", 6, "--steer", f"{teacher}=+5"]
    words += ["--seed", 7]
    trimtab("generate", *words, "--input", source, "--output", target)
    return target


def test_the_texts_of_a_file_are_written_again(trimtab, texts):
    assert "4 rows: 4 the same, 0 differ" in trimtab("replay", texts).stdout
    assert "4 rows: 4 the same, 0 differ" in trimtab("replay", texts, "--batch-size", 1).stdout


def test_a_changed_text_is_named_and_the_status_is_1(trimtab, texts):
    rows = [json.loads(line) for line in texts.read_text(encoding="utf-8").split("\n") if line]
    longest = max(range(4), key=lambda row: len(rows[row]["token_ids"]))
    changed = rows[longest]["token_ids"]
    changed[-1] = 1 if changed[-1] != 1 else 2
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = trimtab("replay", texts, check=False)
    assert done.status == 1
    assert f"row {longest + 1}: the texts differ from token {len(changed)} on" in done.stdout
    assert "3 the same, 1 differ" in done.stdout
    found = [json.loads(line) for line in trimtab("replay", texts, "--json", check=False).stdout.strip().split("\n")]
    assert [row["same"] for row in found] == [row != longest for row in range(4)]
    assert found[longest]["token"] == len(changed) - 1


def test_replaced_weights_of_a_reward_are_named(trimtab, texts, teacher, place, tmp_path):
    """The folder that the rows name now holds another reward."""
    rows = texts.read_text(encoding="utf-8").replace(str(teacher), str(tmp_path / "other"))
    texts.write_text(rows, encoding="utf-8")
    shutil.copytree(teacher, tmp_path / "other")
    assert "4 the same" in trimtab("replay", texts).stdout
    shutil.rmtree(tmp_path / "other")
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--attribute", "good", "--base", place / "lm"]
    quick = ["--head", "v", "--epochs", 1, "--batch-size", 20, "--no-bf16", "--checkpoints", 1, "--max-tokens", 6]
    trimtab("train", "labels", *data, *quick, "--seed", 5, "--out", tmp_path / "other")
    done = trimtab("replay", texts, check=False)
    assert done.status == 1
    assert "has other weights: fingerprint" in done.stdout
    assert "0 the same, 4 differ or were not written" in done.stdout


def test_rows_of_standard_output_and_of_json_can_be_replayed(trimtab, place, tmp_path):
    words = ["--model", place / "lm", "--max-new-tokens", 4, "--seed", 3]
    path = tmp_path / "rows.jsonl"
    path.write_text(trimtab("generate", "w1 w2", "w3", *words, "--json").stdout, encoding="utf-8")
    assert "2 rows: 2 the same" in trimtab("replay", path).stdout


def test_searches_can_be_replayed(trimtab, place, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "w1 w2"}\n', encoding="utf-8")
    few = ["--iterations", 3, "--fresh-iterations", 2, "--children", 2, "--max-children", 2, "--max-new-tokens", 3]
    judge = ["--judge", "vader=+1", "--similarity", "off"]
    trimtab("rewind", "--model", place / "lm", *few, *judge, "--input", source, "--output", target)
    assert "1 rows: 1 the same" in trimtab("replay", target).stdout


def test_rows_of_other_versions_are_pointed_out(trimtab, texts):
    texts.write_text(texts.read_text(encoding="utf-8").replace('"torch": "', '"torch": "0.'), encoding="utf-8")
    assert "note: rows say that they were written with torch 0." in trimtab("replay", texts).stderr


def test_rows_of_another_device_are_pointed_out(trimtab, texts):
    assert "note: " not in trimtab("replay", texts).stderr
    texts.write_text(texts.read_text(encoding="utf-8").replace('"device": "cpu"', '"device": "H100"'), encoding="utf-8")
    assert "note: rows say that they were written with device H100; this is cpu" in trimtab("replay", texts).stderr


def test_a_file_with_a_trace_is_replayed(trimtab, place, teacher, tmp_path):
    words = ["--model", place / "lm", "--max-new-tokens", 3, "--steer", f"{teacher}=+5", "--trace", "--json"]
    path = tmp_path / "rows.jsonl"
    path.write_text(trimtab("generate", "w1 w2", *words).stdout, encoding="utf-8")
    assert "1 rows: 1 the same" in trimtab("replay", path).stdout
    row = json.loads(path.read_text(encoding="utf-8"))
    row["trace"] = [{"text": "forged", "rewards": {}}]
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert "row 1: the tokens are the same, but not the row's trace" in trimtab("replay", path, check=False).stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "it is empty"),
        ('{"provenance": ' + "[" * 900 + "]" * 900 + "}\n", "too deeply"),
        ("{}\n", "expected rows with their provenance"),
        ("broken\n", "line 1: not JSON"),
    ],
)
def test_what_is_no_file_of_rows_is_refused(trimtab, tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = trimtab("replay", path, check=False)
    assert done.status == 1
    assert message in done.stdout + done.stderr
