"""`trimtab rewards`."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from sklearn.metrics import roc_auc_score

from tiny import tiny_reward
from trimtab.models.loading import load_frozen_lm
from trimtab.rewards.card import read_card
from trimtab.rewards.folder import write_card
from trimtab.rewards.registry import BUNDLED, load_reward


def test_the_list_names_every_bundled_reward_with_its_method(trimtab):
    lines = trimtab("rewards", "list").stdout.split("\n")
    rows = {line.split()[0]: line.split()[1] for line in lines[1:] if line.strip()}
    assert (
        rows.items() >= {"sentiment": "ARM", "sentiment-rad": "RAD", "toxicity": "ARM", "toxicity-rad": "RAD"}.items()
    )


def test_show_prints_the_card_of_a_reward(trimtab, teacher):
    shown = trimtab("rewards", "show", teacher).stdout
    card = read_card(teacher)
    assert "RAD (V-head, 2310.09520) for good" in shown
    for text in ("Description", "Training", "Quality on held-out data", card.weights_sha256, "calibration:good"):
        assert text in shown


def test_show_prints_json_on_request(trimtab, teacher):
    shown = trimtab("rewards", "show", teacher, "--json").stdout
    assert json.loads(shown) == json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    assert shown.count("\n") == 1


def test_show_refuses_weights_that_are_not_the_cards(trimtab, teacher, tmp_path):
    damaged = shutil.copytree(teacher, tmp_path / "damaged")
    weights = damaged / "reward.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    done = trimtab("rewards", "show", damaged, check=False)
    assert done.status == 1
    assert "is damaged: got SHA-256" in done.stderr


def test_show_names_the_characters_that_a_terminal_acts_on(trimtab, teacher, tmp_path):
    shutil.copytree(teacher, tmp_path / "evil")
    evil = "\x1b[31m[bold]"
    card = replace(read_card(teacher), attributes=(evil,), provenance={evil: evil}, quality={evil: [{evil: 1.0}]})
    write_card(tmp_path / "evil", card)
    shown = trimtab("rewards", "show", tmp_path / "evil").stdout
    assert "\x1b" not in shown
    assert shown.count("<U+001B>[31m[bold]") == 5
    assert "\x1b" not in trimtab("rewards", "show", tmp_path / "evil", "--json").stdout


@pytest.fixture
def data(place):
    """Return the options that name labelled texts."""
    return ["--data", place / "dev.jsonl", "--column", "good", "--text-column", "sentence"]


def test_a_reward_is_measured_on_any_labelled_table(trimtab, data, teacher):
    measured = json.loads(trimtab("rewards", "measure", teacher, *data, "--max-tokens", 6, "--json").stdout)
    trained = read_card(teacher).quality
    assert measured["texts"] == 80
    assert len(measured["measured_sha256"]) == 64
    assert measured["auc:good"] == pytest.approx(trained["auc:good"], abs=0.01)  # the saved weights are rounded
    assert measured["top1_flip"] == pytest.approx(trained["top1_flip"], abs=0.05)


def test_a_reward_is_measured_and_calibrated_on_a_split_of_a_data_set(trimtab, place, data_set, teacher):
    words = [teacher, "--data", data_set, "--column", "good", "--text-column", "sentence"]
    assert "a split 'train'" in trimtab("rewards", "measure", *words, check=False).stderr
    measured = json.loads(trimtab("rewards", "measure", *words, "--split", "validation", "--json").stdout)
    assert (measured["texts"], measured["measured_with"]["split"]) == (80, "validation")
    trimtab("rewards", "calibrate", *words, "--split", "validation", "--out", place / "on-a-split")
    (source,) = read_card(place / "on-a-split").provenance["calibration"]["good"]["sources"]
    assert source["data"] == "words"


def test_a_measure_of_few_texts_is_printed_with_a_warning(trimtab, data, teacher):
    done = trimtab("rewards", "measure", teacher, *data, "--limit", 9)
    assert re.search(r"^ *auc:good +[01]", done.stdout, re.MULTILINE)
    assert "warning: only 9 held-out texts" in done.stderr


def test_a_measure_on_the_training_data_is_printed_with_a_warning(trimtab, place, data, teacher):
    copy = place / "trained-on"
    shutil.copytree(teacher, copy)
    card = read_card(copy)
    digest = json.loads(trimtab("rewards", "measure", copy, *data, "--json").stdout)["measured_sha256"]
    write_card(copy, replace(card, provenance={**card.provenance, "data_sha256": digest}))
    done = trimtab("rewards", "measure", copy, *data, "--beta", 3, "--limit", 60, "--write")
    assert "measured on the training data" in done.stderr
    quality = read_card(copy).quality
    assert "measured on the training data" in quality["warning"]
    assert quality["measured_with"] == {"beta": 3.0, "max_tokens": 128, "limit": 60}


def test_the_measured_quality_is_written_into_the_card_on_request(trimtab, place, data, teacher):
    copy = place / "copy"
    shutil.copytree(teacher, copy)
    of_teacher = {"agreement_over_prefixes:good": 0.9}
    write_card(copy, replace(read_card(copy), quality={**of_teacher, "auc:good": 0.1}))
    more = [*data, "--limit", 60, "--json"]
    measured = json.loads(trimtab("rewards", "measure", copy, *more).stdout)
    assert read_card(copy).quality["auc:good"] == 0.1
    trimtab("rewards", "measure", copy, *more, "--write")
    assert read_card(copy).quality == of_teacher | measured
    assert measured["texts"] == 60
    assert "dev.jsonl" in (copy / "README.md").read_text(encoding="utf-8")
    assert read_card(copy).weights_sha256 == read_card(teacher).weights_sha256


def test_each_attribute_is_measured_on_its_own_texts(trimtab, place, data, tmp_path):
    reward = tiny_reward(load_frozen_lm(str(place / "lm")), "q")  # kind and calm
    reward.save_pretrained(tmp_path / "two")
    for name in ("calm", "kind"):
        trimtab("rewards", "measure", tmp_path / "two", *data, "--attribute", name, "--write")
    quality = read_card(tmp_path / "two").quality
    rows = [json.loads(line) for line in (place / "dev.jsonl").read_text(encoding="utf-8").split("\n")]
    scores = load_reward(tmp_path / "two").score([row["sentence"] for row in rows])
    for column, name in enumerate(reward.attributes):
        expected = roc_auc_score([row["good"] for row in rows], scores[:, column].tolist())
        assert quality[f"auc:{name}"] == pytest.approx(expected)
        assert quality[f"measured on:{name}"] == "dev.jsonl"


def test_a_measurement_leaves_no_older_figure_of_its_attribute(trimtab, place, data, tmp_path):
    reward = tiny_reward(load_frozen_lm(str(place / "lm")), "q")  # kind and calm
    reward.save_pretrained(tmp_path / "two")
    card = read_card(tmp_path / "two")
    older = {
        "warning:calm": "few texts",
        "auc:calm": 0.1,
        "auc:kind": 0.2,
        "sources:calm": [],
        "agreement_over:calm": 1.0,
    }
    write_card(tmp_path / "two", replace(card, quality=older))
    one_sided = tmp_path / "one.jsonl"
    one_sided.write_text('{"sentence": "w1 w2", "good": 1}\n' * 60, encoding="utf-8")
    words = ["--data", one_sided, "--column", "good", "--text-column", "sentence", "--attribute", "calm"]
    trimtab("rewards", "measure", tmp_path / "two", *words, "--write")
    quality = read_card(tmp_path / "two").quality
    assert "auc:calm" not in quality
    assert quality.get("warning:calm") != "few texts"
    assert quality.items() >= {"auc:kind": 0.2, "sources:calm": [], "agreement_over:calm": 1.0}.items()


@pytest.fixture
def no_weights(monkeypatch):
    """Fail if a reward is loaded."""
    monkeypatch.setattr("trimtab.rewards.registry.load_reward", lambda *given: pytest.fail("loaded weights"))


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", 0], "got --limit 0, expected at least 1"),
        (["--limit", -1], "got --limit -1"),
        (["--max-tokens", 0], "got --max-tokens 0"),
        (["--beta", "nan"], "got --beta nan, expected a finite number"),
        (["--beta", "inf"], "got --beta inf"),
        (["--column", "good"], "got 2 --column, expected 1, for: good"),
        (["--attribute", "bad"], "got --attribute bad, expected each once, of: good"),
        (["--attribute", "good", "--attribute", "good"], "got --attribute good, expected each once, of: good"),
        (["--label-range", 1, 1], "got label_range=1 1"),
        (["--text-column", "none"], "none"),
        (["--data", "none.csv"], "none.csv"),
    ],
)
def test_a_measure_that_cannot_be_is_refused_before_weights_load(trimtab, data, teacher, words, message):
    done = trimtab("rewards", "measure", teacher, *data, *words, check=False)
    assert done.status == 1
    assert message in done.stderr


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", ["sentiment", BUNDLED / "sentiment"])
def test_the_card_of_a_bundled_reward_is_never_written(trimtab, data, name):
    before = (BUNDLED / "sentiment" / "config.json").read_bytes()
    done = trimtab("rewards", "measure", name, *data, "--write", check=False)
    assert done.status == 1
    assert "expected a folder of yours: copy" in done.stderr
    assert (BUNDLED / "sentiment" / "config.json").read_bytes() == before


def test_measuring_says_which_rows_are_skipped(trimtab, teacher, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text(f"text,good\nw1 w2,1\nw31 w32,0\nw3,{'9' * 400}\n", encoding="utf-8")
    done = trimtab("rewards", "measure", teacher, "--data", data, "--column", "good", "--max-tokens", 6)
    assert "data.csv: 1 row skipped: line 4: got good='999" in done.stderr


def test_a_reward_is_calibrated_into_a_folder_of_its_own(trimtab, place, data, teacher):
    out = place / "calibrated"
    done = trimtab("rewards", "calibrate", teacher, *data, "--out", out)
    card = read_card(out)
    assert "sources:good" in done.stdout
    assert "calibration error" in " ".join(done.stdout.split())
    assert str(out) in done.stderr.replace("\n", "")
    assert [source["data"] for source in card.provenance["calibration"]["good"]["sources"]] == ["dev.jsonl"]
    assert card.weights_sha256 == read_card(teacher).weights_sha256
    assert card.quality.items() > read_card(teacher).quality.items()


def test_a_calibration_outlives_a_measurement(trimtab, place, data, teacher):
    out = place / "measured"
    trimtab("rewards", "calibrate", teacher, *data, "--out", out)
    before = read_card(out)
    trimtab("rewards", "measure", out, *data, "--write")
    assert read_card(out).calibration == before.calibration
    assert read_card(out).quality["sources:good"] == before.quality["sources:good"]


def test_one_attribute_is_calibrated_by_name(trimtab, place, data, teacher):
    words = ["rewards", "calibrate", teacher, *data, "--out", place / "one"]
    trimtab(*words, "--attribute", "good")
    assert len(read_card(place / "one").calibration) == 1
    done = trimtab(*words, "--attribute", "bad", check=False)
    assert done.status == 1
    assert "got --attribute bad, expected each once, of: good" in done.stderr


def test_a_calibrated_reward_is_scored_raw_and_calibrated(trimtab, place, data, teacher):
    out = place / "scored"
    trimtab("rewards", "calibrate", teacher, *data, "--out", out)
    ((scale, shift),) = read_card(out).calibration
    words = ["score", "--reward", out, "--text", "w1 w2"]
    row = json.loads(trimtab(*words, "--json").stdout)
    raw, share = row["rewards"]["good"], row["calibrated"]["good"]
    assert share == pytest.approx(min(max(raw * scale + shift, 0), 1))
    assert trimtab(*words).stdout == f"good={raw:.4f} (calibrated {share:.4f})  w1 w2\n"


def test_a_calibration_that_cannot_be_is_refused_and_writes_nothing(trimtab, place, data, teacher):
    wrong = {"--seed -1": ["--seed", "-1"], "--limit 0": ["--limit", "0"], "two or more": ["--limit", "1"]}
    for words, more in wrong.items():
        done = trimtab("rewards", "calibrate", teacher, *data, "--out", place / "none", *more, check=False)
        assert done.status == 1
        assert words in done.stderr
    assert not (place / "none").exists()
