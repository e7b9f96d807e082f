"""`trimtab train` on a tiny language model."""

import hashlib
import json
import os
import shutil

import pytest

from full_disk import files_of_at_most
from trimtab import errors
from trimtab.models import loading
from trimtab.rewards.card import read_card
from trimtab.rewards.registry import load_reward
from trimtab.training.run_folder import RunFolder

QUICK = ["--batch-size", "20", "--warmup-steps", "5", "--learning-rate", "1e-2", "--rank", "8", "--lora-rank", "4"]
QUICK += ["--no-bf16", "--checkpoints", "2", "--max-tokens", "6"]


@pytest.mark.parametrize(
    "expected",
    [
        "1 row skipped",
        "line 322: got good=7, expected a number in [0, 1]",
        "320, ",
        "texts longer than 6 tokens lose their end",
        "50.0% high",
        "sample good=",
        "accuracy:good",
        "useful tokens/s",
    ],
)
def test_training_shows_the_data_the_bad_rows_and_the_quality(trained, expected):
    assert expected in trained[1]


def test_a_reward_from_labels_has_a_card_with_quality_and_provenance(teacher):
    card = read_card(teacher)
    assert card.quality["accuracy:good"] > 0.9
    assert card.provenance["skipped in train.csv"] == 1
    assert card.provenance["truncated"] > 0
    readme = (teacher / "README.md").read_text(encoding="utf-8")
    assert "accuracy_by_prefix:good" in readme
    assert "calibration:good" in readme
    assert card.provenance["command"].replace("|", "\\|") in readme


def test_the_run_folder_keeps_the_settings(teacher):
    settings = json.loads((teacher.with_name("teacher.run") / "settings.json").read_text(encoding="utf-8"))
    assert settings["recipe"]["rank"] == 8
    assert settings["recipe"]["clip"] == 2.0


def test_the_command_in_the_card_names_files_without_their_folders(trimtab, place):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--column", "good", "--limit", 40]
    trimtab("train", "labels", *data, "--base", place / "lm", *QUICK, "--out", place / "named")
    command = read_card(place / "named").provenance["command"]
    assert command.startswith("trimtab train labels --data train.csv --text-column sentence")
    assert command.endswith(" --out named")
    assert str(place) not in (place / "named" / "config.json").read_text(encoding="utf-8")


def test_ctrl_c_says_how_to_go_on(train_labels, tmp_path, monkeypatch):
    def interrupt(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.training.labels.train_from_labels", interrupt)
    done = train_labels("--out", tmp_path / "mine")
    assert done.exit_code == 130
    assert "Give the same command again to go on." in done.stderr


def test_the_same_command_again_resumes_and_another_one_is_refused(teacher, train_labels):
    assert train_labels("--head", "v", "--epochs", 4, "--out", teacher).exit_code == 0
    with pytest.raises(errors.InvalidData, match=r"recipe\.epochs: 4\.0 there, 5\.0 here"):
        train_labels("--head", "v", "--epochs", 5, "--out", teacher)


def test_several_attributes_with_cross_entropy_and_balance(place, train_labels):
    done = train_labels(
        "--attribute", "again", "--column", "good", "--column", "good", "--loss", "cross-entropy",
        "--balance", "--limit", 200, "--epochs", 3, "--out", place / "two",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    card = read_card(place / "two")
    assert (card.attributes, card.link) == (("good", "again"), "sigmoid")
    assert card.quality["accuracy:again"] > 0.9
    assert card.provenance["texts"] == 200


def test_a_reward_is_trained_from_pairs(trimtab, place):
    data = ["--data", place / "pairs.jsonl", "--attribute", "kind", "--base", place / "lm"]
    trimtab("train", "pairs", *data, *QUICK, "--prefixes", "--epochs", 8, "--out", place / "kind")
    assert read_card(place / "kind").quality["accuracy:kind"] > 0.9


def test_a_datastore_is_built_and_mixed_in(trimtab, place):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--base", place / "lm", "--max-tokens", 6]
    done = trimtab("train", "datastore", *data, "--keys", 50, "--neighbours", 5, "--out", place / "store")
    assert "50 keys" in done.stderr
    card = read_card(place / "store")
    assert (card.head, card.trunk, card.keys, card.neighbours, card.mix) == ("knn", "frozen", 50, 5, 0.5)
    assert {"base_perplexity", "perplexity"} <= card.quality.keys()
    words = ["generate", "w1", "--model", place / "lm", "--steer", f"{place / 'store'}=1", "--max-new-tokens", 3]
    assert trimtab(*words).stdout


def test_the_card_of_a_datastore_says_that_it_was_measured_on_its_own_texts(trimtab, place):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--base", place / "lm", "--max-tokens", 6]
    held_out = ["--held-out", place / "train.csv", "--held-out-limit", 20]
    done = trimtab("train", "datastore", *data, *held_out, "--keys", 50, "--out", place / "own-texts")
    provenance = read_card(place / "own-texts").provenance
    for message in ("held-out is the training data", "20 of 20 held-out rows have texts that are trained on, too"):
        assert message in provenance["warning"]
        assert message in " ".join(done.stderr.split())
    assert provenance["held_out_sha256"] == provenance["data_sha256"]
    assert provenance["held_out"] == "train.csv"


def test_other_objectives_of_pairs_and_of_teachers(trimtab, place, teacher):
    """HaF-RM's policy loss, RLMEC's token rewards of an edit, and ABC's credits."""
    pairs = ["train", "pairs", "--data", place / "pairs.jsonl", "--base", place / "lm", *QUICK, "--epochs", 1]
    trimtab(*pairs, "--policy-loss", 0.5, "--out", place / "haf")
    trimtab(*pairs, "--edits", "--out", place / "edits")
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--base", place / "lm", "--limit", 60]
    distil = ["train", "distil", "--teacher", teacher, *data, *QUICK, "--epochs", 1]
    trimtab(*distil, "--target", "delta", "--credit", "attention", "--credit-share", 0.8, "--out", place / "abc")
    objectives = [read_card(place / name).provenance["objective"] for name in ("haf", "edits", "abc")]
    assert objectives == [
        "pairs, policy loss 0.5 at 0.1", "pairs, token rewards of the edit", "distil, credit by attention, share 0.8"
    ]  # fmt: skip


def test_a_language_model_is_trained_from_pairs_and_steers(trimtab, place):
    data = ["--data", place / "pairs.jsonl", "--attribute", "kind", "--base", place / "lm"]
    trimtab("train", "genarm", *data, *QUICK, "--out", place / "kind-lm")
    card = read_card(place / "kind-lm")
    assert (card.head, card.trunk, card.clamp) == ("lm", "lora", None)
    assert card.provenance["objective"] == "genarm, beta_r 0.05"
    assert card.provenance["recipe"]["probe_beta"] == 1.0
    steer = f"experts:{place / 'kind-lm'},{place / 'lm'}=2"
    assert trimtab("generate", "w1", "--model", place / "lm", "--steer", steer, "--max-new-tokens", 3).stdout


def test_language_models_are_trained_on_texts_of_a_label_and_steer(trimtab, place):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--column", "good", "--base", place / "lm"]
    held_out = ["--held-out", place / "train.csv"]
    trimtab("train", "expert", *data, *held_out, "--at-least", 0.5, *QUICK, "--out", place / "good-lm")
    trimtab("train", "expert", *data, "--at-most", 0, *QUICK, "--epochs", 1, "--out", place / "bad-lm")
    card = read_card(place / "good-lm")
    assert (card.head, card.trunk, card.clamp, card.attributes) == ("lm", "lora", None, ("expert",))
    assert card.provenance["objective"] == "language modelling"
    assert (card.provenance["column"], card.provenance["at_least"], card.provenance["texts"]) == ("good", 0.5, 160)
    assert card.quality["texts"] == 160
    assert card.quality["perplexity"] > 1
    steer = f"experts:{place / 'good-lm'},{place / 'bad-lm'}=2"
    assert trimtab("generate", "w1", "--model", place / "lm", "--steer", steer, "--max-new-tokens", 3).stdout


def test_a_reward_is_distilled_from_another_reward(trimtab, place, teacher):
    trimtab(
        "train", "distil", "--teacher", teacher, "--data", place / "train.csv", "--text-column", "sentence",
        "--held-out", place / "dev.jsonl", "--column", "good", "--base", place / "lm", *QUICK, "--candidates", 5,
        "--epochs", 4, "--start", teacher, "--limit", 100, "--held-out-limit", 50, "--balance",
        "--out", place / "student",
    )  # fmt: skip
    assert (place / "student.run" / "targets" / "targets.json").is_file()
    card = read_card(place / "student")
    assert card.quality["accuracy:good"] > 0.9
    assert card.quality["texts"] == 50


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("2 columns for 1", ["labels", "--column", "a", "--column", "b"]),
        ("expected --column with it", ["distil", "--balance", "--teacher", "TEACHER"]),
        ("head='v'", ["distil", "--head", "v", "--text-column", "sentence", "--teacher", "TEACHER"]),
        ("expected more than 0", ["labels", "--rank", "0"]),
        ("--held-out-limit 5 without held-out texts", ["labels", "--held-out-limit", "5"]),
        ("outside --out", ["labels", "--run", "OUT/run"]),
        ("outside --run", ["labels", "--run", "OUT/.."]),
        ("outside --out", ["distil", "--targets", "OUT/targets", "--teacher", "TEACHER"]),
        ("outside --targets", ["distil", "--run", "PLACE/t/run", "--targets", "PLACE/t", "--teacher", "TEACHER"]),
        ("outside --run", ["distil", "--run", "PLACE/t", "--targets", "PLACE/t/u", "--teacher", "TEACHER"]),
        ("--run '/dev/null', expected a folder", ["labels", "--run", "/dev/null"]),
        ("--targets '/dev/null', expected a folder", ["distil", "--targets", "/dev/null", "--teacher", "TEACHER"]),
        ("--layers 99, expected at most the base's 3", ["labels", "--layers", "99"]),
        ("--lora-rank 99, expected at most the hidden size", ["labels", "--lora-rank", "99"]),
        ("--max-tokens 64, expected fewer than the base's 64", ["labels", "--max-tokens", "64"]),
        ("got --epochs nan", ["labels", "--epochs", "nan"]),
        ("got --batch-size 0", ["labels", "--batch-size", "0"]),
        ("expected different names", ["labels", "--attribute", "a", "--attribute", "a"]),
        ("expected different names", ["pairs", "--attribute", " "]),
        ("train datastore; expected q or v", ["labels", "--head", "lm"]),
        ("expected a column and a bound", ["expert", "--column", "good"]),
        ("expected a column and a bound", ["expert", "--at-least", "0.5"]),
        ("got --label-range, expected --column with it", ["expert", "--label-range", "1", "5"]),
        ("got --label-range 5 1", ["expert", "--label-range", "5", "1"]),
        ("expected 0 to 1, in this order", ["expert", "--column", "good", "--at-least", "0.5", "--at-most", "0.2"]),
        ("got --policy-temperature 0.5, expected", ["pairs", "--policy-temperature", "0.5"]),
        ("got --policy-loss 1 with trunk='frozen'", ["pairs", "--trunk", "frozen", "--policy-loss", "1"]),
        ("got --label-range 5 1", ["labels", "--label-range", "5", "1"]),
        ("got reward 'none'", ["labels", "--start", "none"]),
        ("got reward 'none'", ["distil", "--teacher", "none"]),
        (
            "2 label columns, expected the teacher's 1",
            ["distil", "--column", "a", "--column", "b", "--teacher", "TEACHER"],
        ),
        ("got --candidates 99, expected at most 64", ["distil", "--candidates", "99", "--teacher", "TEACHER"]),
        ("no column 'label'", ["labels", "--text-column", "sentence"]),
    ],
)
def test_wrong_settings_are_refused_before_any_work(trimtab, place, teacher, tmp_path, monkeypatch, message, words):
    monkeypatch.setattr(loading, "_load_weights", lambda *_: pytest.fail("loaded the weights"))
    out = tmp_path / "folder" / "wrong"
    names = {"OUT": out, "TEACHER": teacher, "PLACE": tmp_path}
    for name, path in names.items():
        words = [word.replace(name, str(path)) for word in words]
    words = [*words, *([] if "--max-tokens" in words else ["--max-tokens", "6"])]
    words = [*words, *([] if "--rank" in words else ["--rank", "8"])]
    data = ["--data", place / "train.csv", "--base", place / "lm", "--out", out]
    done = trimtab("train", *words, *data, check=False)
    assert done.status == 1, done.stderr
    assert message in done.stderr
    assert done.stderr.startswith("trimtab: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_card_has_the_hashes_of_the_data_and_what_computed_it(teacher, place):
    provenance = read_card(teacher).provenance
    for name, file in (("data_sha256", "train.csv"), ("held_out_sha256", "dev.jsonl")):
        assert provenance[name] == hashlib.sha256((place / file).read_bytes()).hexdigest()
    assert (provenance["data"], provenance["held_out"], provenance["device"]) == ("train.csv", "dev.jsonl", "cpu")
    assert provenance["transformers"]


def test_the_base_is_found_from_another_folder(teacher, monkeypatch):
    assert read_card(teacher).base == "../lm"
    monkeypatch.chdir("/")
    assert load_reward(str(teacher)).attributes == ("good",)


@pytest.fixture
def stars(tmp_path):
    """Return a file of texts with one to five stars."""
    rows = [{"text": f"w{number % 9 + 1} w2 w3", "stars": number % 5 + 1} for number in range(60)]
    (tmp_path / "stars.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path / "stars.jsonl"


def test_labels_on_a_scale_are_refused_or_mapped(trimtab, place, stars):
    words = ["train", "labels", "--data", stars, "--column", "stars", "--base", place / "lm", *QUICK, "--epochs", 1]
    out = stars.with_name("reward")
    done = trimtab(*words, "--out", out, check=False)
    assert done.status == 1
    assert "(stars from 1 to 5); give their scale: --label-range 1 5" in done.stderr
    assert not out.exists()
    trimtab(*words, "--out", out, "--label-range", 1, 5)
    card = read_card(out)
    assert card.provenance["label_range"] == [1, 5]
    assert card.provenance["share_high"] == {"label": pytest.approx(0.6, abs=0.05)}


def test_a_language_model_is_trained_on_texts_of_many_stars(trimtab, place, stars):
    data = ["--data", stars, "--column", "stars", "--at-least", 0.75, "--base", place / "lm"]
    words, out = ["train", "expert", *data, *QUICK, "--epochs", 1], stars.with_name("many-stars-lm")
    assert "--label-range 1 5" in trimtab(*words, "--out", out, check=False).stderr
    trimtab(*words, "--label-range", 1, 5, "--out", out)
    assert read_card(out).provenance["label_range"] == [1, 5]
    assert read_card(out).provenance["texts"] == 23  # 24 of 60 have four stars or five, and one is held out


def test_figures_that_say_little_are_printed_with_a_warning(trimtab, place, tmp_path):
    rows = [json.dumps({"text": f"w{number % 9 + 1} w2", "label": 1}) for number in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    words = ["--data", tmp_path / "rows.jsonl", "--held-out", tmp_path / "rows.jsonl", "--base", place / "lm"]
    done = trimtab("train", "labels", *words, *QUICK, "--epochs", 1, "--out", tmp_path / "reward")
    card = read_card(tmp_path / "reward")
    assert "only 40 held-out texts" in card.quality["warning"]
    assert "every held-out label of 'label' is at least 0.5" in card.quality["warning"]
    assert "held-out is the training data" in card.provenance["warning"]
    assert "40 of 40 held-out rows have texts that are trained on, too" in card.provenance["warning"]
    assert "nothing to learn" in card.provenance["warning"]
    for message in ("only 40 held-out texts", "is the training data", "there is nothing to learn"):
        assert message in " ".join(done.stderr.split())
    assert "only 40 held-out texts" in (tmp_path / "reward" / "README.md").read_text(encoding="utf-8")


def test_a_second_command_on_one_run_folder_is_refused(trimtab, place, tmp_path):
    words = ["train", "pairs", "--data", place / "pairs.jsonl", "--base", place / "lm", *QUICK, "--epochs", 1]
    words += ["--out", tmp_path / "reward"]
    with RunFolder(tmp_path / "reward.run").locked():
        done = trimtab(*words, check=False)
        assert "another process trains in" in done.stderr
        assert done.status == 1
    trimtab(*words)


def test_texts_and_names_with_control_characters_do_not_reach_the_terminal(trimtab, place, tmp_path):
    rows = [{"text": f"w{n % 9 + 1} \x1b[31m\x9b", "\x1b[32mgood": n % 2} for n in range(40)] + [{"\x1b[33m": 1}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["--data", tmp_path / "rows.jsonl", "--attribute", "\x1b[32mgood", "--base", place / "lm", *QUICK]
    done = trimtab("train", "labels", *words, "--epochs", 1, "--out", tmp_path / "reward")
    printed = done.stdout + done.stderr
    assert "40 rows" not in printed
    assert "1 row skipped" in printed
    assert not [character for character in printed if character < " " and character not in "\n\t\r"]
    assert "\x9b" not in printed


def test_a_full_disk_is_one_line_and_the_same_command_resumes(trimtab, place, tmp_path):
    words = ["train", "pairs", "--data", place / "pairs.jsonl", "--base", place / "lm", *QUICK, "--epochs", 2, "--out"]
    for size in (2_000, 24_000, 34_000):
        with files_of_at_most(size):
            done = trimtab(*words, tmp_path / "reward", check=False)
        assert done.status == 1
        assert "Traceback" not in done.stderr
        assert str(tmp_path) in done.stderr.splitlines()[-1]
        assert not (tmp_path / "reward").exists()
    trimtab(*words, tmp_path / "reward")
    trimtab(*words, tmp_path / "whole")
    weights = [(tmp_path / name / "reward.safetensors").read_bytes() for name in ("reward", "whole")]
    assert weights[0] == weights[1]
    assert sorted(os.listdir(tmp_path)) == ["reward", "reward.run", "whole", "whole.run"]


@pytest.mark.parametrize("out", ["", ".", "/"])
def test_an_out_without_a_name_is_refused(trimtab, place, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--column", "good"]
    done = trimtab("train", "labels", *data, "--base", place / "lm", *QUICK, "--out", out, check=False)
    assert done.status == 1
    assert "expected a folder with a name" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--start", "--teacher"])
def test_a_damaged_reward_is_refused_before_the_base_loads(trimtab, place, teacher, tmp_path, monkeypatch, option):
    monkeypatch.setattr(loading, "load_frozen_lm", lambda *given, **more: pytest.fail("weights loaded"))
    damaged = shutil.copytree(teacher, tmp_path / "damaged")
    (damaged / "reward.safetensors").write_bytes((teacher / "reward.safetensors").read_bytes()[:-9])
    command = "labels" if option == "--start" else "distil"
    words = ["--data", place / "train.csv", "--text-column", "sentence", "--column", "good", "--base", place / "lm"]
    done = trimtab("train", command, *words, *QUICK, option, damaged, "--out", tmp_path / "out", check=False)
    assert done.status == 1
    assert "is damaged" in done.stderr
