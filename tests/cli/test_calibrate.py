"""`trimtab rewind calibrate`."""

import hashlib
import json

import pytest


@pytest.fixture
def calibrate(trimtab, place, teacher):
    """Return a function that calibrates the tiny reward, or another judge."""

    def run(*words, judge=f"{teacher}=+1", check=True):
        return trimtab("rewind", "calibrate", "--model", place / "lm", "--judge", judge, *words, check=check)

    return run


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path):
    rows = [("w1 w2 w3 w4", "fine"), ("w5 w6 w7 w8", "fine"), ("w31 w32 w33", "rude"), ("w35 w36 w37", "rude")]
    return write_lines(tmp_path / "texts.jsonl", [{"text": text, "verdict": verdict} for text, verdict in rows])


def test_accuracy_is_the_share_of_texts_judged_as_labelled(calibrate, texts, teacher):
    words = ["--data", texts, "--column", "verdict", "--good", "fine", "--judge-alone", "--json"]
    right = json.loads(calibrate(*words).stdout)
    assert (right["asked"], right["accuracy"]) == (4, 1.0)
    assert right["data"] == "texts.jsonl"
    wrong = json.loads(calibrate(*words, judge=f"{teacher}=-1").stdout)
    assert wrong["accuracy"] == 0.0


def test_few_texts_are_reported_as_near_chance(calibrate, texts):
    done = calibrate("--data", texts, "--column", "verdict", "--good", "fine", "--judge-alone")
    assert "accuracy 100.0%" in done.stdout
    assert "near chance" in done.stderr


def test_pairs_of_conversations_are_judged_by_their_last_answer(calibrate, tmp_path, teacher):
    row = {"chosen": "w20 w59 w21 w59 w1 w2 w3", "rejected": "w20 w59 w21 w59 w31 w32 w33"}  # w59 opens a turn
    pairs = write_lines(tmp_path / "pairs.jsonl", [row] * 3)
    words = ["--data", pairs, "--pairs", "--judge-alone", "--json"]
    assert json.loads(calibrate(*words, "--turn", "w59").stdout)["accuracy"] == 1.0
    assert json.loads(calibrate(*words, "--turn", "w59", judge=f"{teacher}=-1").stdout)["accuracy"] == 0.0
    done = calibrate(*words, "--turn", "Bot:", check=False)
    assert done.status == 1
    assert "'Bot:'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_self_judge_is_measured_by_its_answers_and_by_its_probabilities(trimtab, tmp_path):
    rows = [{"text": "What a lovely day.", "label": 1}, {"text": "You stupid idiot, go to hell.", "label": 0}]
    data = write_lines(tmp_path / "texts.jsonl", rows)
    hard, soft = map(json.loads, trimtab("rewind", "calibrate", "--data", data, "--json").stdout.splitlines())
    assert (hard["judge"], soft["judge"]) == ("self:harmlessness", "self:harmlessness, soft")


def test_json_says_what_made_a_calibration(calibrate, texts, teacher):
    words = ["--data", texts, "--column", "verdict", "--good", "fine", "--judge-alone", "--json"]
    record = json.loads(calibrate(*words).stdout)["provenance"]
    card = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    assert record["base_fingerprint"] == card["base_fingerprint"]
    assert record["data"] == "texts.jsonl"
    assert record["data_sha256"] == hashlib.sha256(texts.read_bytes()).hexdigest()
    assert record["judge"]["alone"] == "true"
    assert {"trimtab", "torch", "transformers", "dtype", "device"} <= record.keys()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--column", "verdict", "--limit", 0], "--limit 0"),
        (["--column", "verdict", "--limit", -3], "--limit -3"),
        (["--column", "verdict", "--good", "splendid"], "all bad"),
        (["--column", "verdict", "--judge-chat"], "--judge-chat with --judge"),
        (["--column", "nothing"], "no column"),
        (["--pairs"], "no column"),
        (["--pairs", "--column", "verdict"], "--column with --pairs"),
        (["--turn", "Bot:", "--prompt-column", "text"], "--turn with --prompt-column"),
        (["--column", "verdict", "--good", "fine", "--turn", "Bot:"], "'Bot:'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_weights(calibrate, texts, monkeypatch, words, expected):
    def load(*args, **options):
        raise AssertionError("weights loaded")

    monkeypatch.setattr("trimtab.models.loading._load_weights", load)
    done = calibrate("--data", texts, *words, check=False)
    assert done.status == 1
    assert expected in done.stderr


def test_a_judge_that_is_no_reward_is_not_shown_the_continuation_alone(calibrate, texts):
    done = calibrate("--data", texts, "--column", "verdict", "--judge-alone", judge="self", check=False)
    assert done.status == 1
    assert "--judge-alone with --judge 'self'" in done.stderr
