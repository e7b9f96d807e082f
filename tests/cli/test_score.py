"""`trimtab score`."""

import json
import subprocess
import sys

import pytest


@pytest.fixture
def score(trimtab, teacher):
    """Return a function that runs `trimtab score` with the tiny reward."""
    return lambda *words, check=True: trimtab("score", "--reward", teacher, *words, check=check)


def json_lines(text):
    return [json.loads(line) for line in text.strip().split("\n")]


def test_good_texts_score_above_bad_ones(score):
    good, bad = json_lines(score("--text", "w1 w2 w3 w4", "--text", "w31 w32 w33 w34", "--json").stdout)
    assert good["rewards"]["good"] > 0.7 > 0.3 > bad["rewards"]["good"]
    assert [good["text"], bad["text"]] == ["w1 w2 w3 w4", "w31 w32 w33 w34"]


def test_prefix_rewards_end_with_the_reward_of_the_text(score):
    (row,) = json_lines(score("--text", "w1 w2 w3", "--prefixes", "--json").stdout)
    assert [token.strip() for token in row["tokens"]] == ["w1", "w2", "w3"]
    assert row["prefix_rewards"]["good"][-1] == row["rewards"]["good"]
    for length in (1, 2):
        (shorter,) = json_lines(score("--text", " ".join(["w1", "w2", "w3"][:length]), "--json").stdout)
        assert row["prefix_rewards"]["good"][length - 1] == pytest.approx(shorter["rewards"]["good"], abs=1e-5)


def test_output_for_people_has_the_reward_before_the_text(score):
    (row,) = json_lines(score("--text", "w1 w2", "--prefixes", "--json").stdout)
    first, *tokens = score("--text", "w1 w2", "--prefixes").stdout.rstrip().split("\n")
    assert first == f"good={row['rewards']['good']:.4f}  w1 w2"
    assert [line.split()[0] for line in tokens] == [f"{value:.4f}" for value in row["prefix_rewards"]["good"]]


def test_texts_of_a_file_are_scored_and_bad_lines_named(score, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "w1"}\n{"text": 7}\nbroken\n{"text": ""}\n{"text": "w2"}\n', encoding="utf-8")
    done = score("--text", "w3", "--input", source, "--json", check=False)
    assert done.status == 1
    assert [row["text"] for row in json_lines(done.stdout)] == ["w3", "w1", "w2"]
    assert "3 texts skipped: line 2: " in done.stderr
    for place in ("line 3: ", "line 4: "):
        assert place in done.stderr


def test_one_attribute_of_a_reward_is_scored(trimtab, teacher):
    done = trimtab("score", "--reward", f"{teacher}:good", "--text", "w1", "--json")
    assert list(json.loads(done.stdout)["rewards"]) == ["good"]
    done = trimtab("score", "--reward", f"{teacher}:rude", "--text", "w1", check=False)
    assert done.status == 1
    assert "good" in done.stderr


def test_a_text_without_a_reward_is_a_fault(trimtab):
    done = trimtab("score", "--reward", "toxicity", "--text", "x", "--text", "A fine day", "--json", check=False)
    assert done.status == 1
    assert [row["text"] for row in json_lines(done.stdout)] == ["A fine day"]
    assert "text 1: got 'x', one token, expected two or more" in done.stderr


def test_a_second_reward_is_refused(trimtab, teacher):
    done = trimtab("score", "--reward", teacher, "--reward", "sentiment", "--text", "w1", check=False)
    assert done.status == 1
    assert "got --reward 2 times, expected it once" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arm", "rad"])
def test_the_bundled_rewards_separate_good_from_bad(trimtab, method):
    texts = ["--text", "What a wonderful, happy film", "--text", "What a dreadful, boring mess"]
    good, bad = json_lines(trimtab("score", "--reward", "sentiment", "--method", method, "--json", *texts).stdout)
    assert good["rewards"]["positive"] > 0.7 > 0.3 > bad["rewards"]["positive"]


def test_json_says_what_made_a_score(score, teacher):
    (row,) = json_lines(score("--text", "w1", "--json").stdout)
    card = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    record = row["provenance"]
    assert record["base_fingerprint"] == card["base_fingerprint"]
    hashes = {"fingerprint", "card_fingerprint", "weights_sha256", "base_weights_fingerprint"}
    named = {"reward", "source", "base", "calibration", *hashes}
    assert record["reward"].keys() == named
    assert {"trimtab", "torch", "transformers", "dtype", "device"} <= record.keys()


@pytest.mark.long
def test_texts_come_from_standard_input(score, teacher, place, tmp_path):
    words = [sys.executable, "-m", "trimtab", "score", "--reward", teacher, "--input", "-", "--json"]
    done = subprocess.run(words, input='{"text": "w1"}\n{"text": "w2"}\n', capture_output=True, text=True, check=True)
    assert [row["text"] for row in json_lines(done.stdout)] == ["w1", "w2"]


def test_odd_rows_are_named_faults(score, tmp_path):
    source = tmp_path / "in.jsonl"
    rows = ["[" * 100_000, '{"text": NaN}', '{"text": "\\ud800"}', "[]", "null", '{"text": ["w1"]}', '{"text": "w1"}']
    source.write_text("\n".join(rows), encoding="utf-8")
    done = score("--input", source, "--json", check=False)
    assert done.status == 1
    assert [row["text"] for row in json_lines(done.stdout)] == ["w1"]
    assert "6 texts skipped: line 1: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no text"),
        (["--input", "nowhere.jsonl"], "no such file"),
        (["--text", "w1", "--method", "nonsense"], "method"),
        (["--text", "w1", "--method", "arm"], "expected 'rad'"),
        (["--text", "w1 " * 70], "got a text of 70 tokens"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_weights(score, monkeypatch, words, expected):
    def load(*args, **options):
        raise AssertionError("weights loaded")

    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", load)
    done = score(*words, check=False)
    assert done.status == 1
    assert expected in done.stderr


def test_an_unknown_attribute_is_refused_before_weights(trimtab, teacher, monkeypatch):
    def load(*args, **options):
        raise AssertionError("weights loaded")

    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", load)
    done = trimtab("score", "--reward", f"{teacher}:rude", "--text", "w1", check=False)
    assert (done.status, "'rude'" in done.stderr) == (1, True)


@pytest.mark.parametrize("content", ["", "\n \n", '{"text": ""}\n', "broken", '{"prompt": "w1"}', "\x00\xff"])
def test_an_input_without_a_usable_text_is_refused_before_weights(score, tmp_path, monkeypatch, content):
    monkeypatch.setattr("trimtab.models.loading.load_frozen_lm", lambda *given, **more: pytest.fail("weights loaded"))
    source = tmp_path / "in.jsonl"
    source.write_bytes(content.encode("latin-1"))
    done = score("--input", source, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert "trimtab: " in done.stderr
    assert "Traceback" not in done.stderr
