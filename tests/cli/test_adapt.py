"""`trimtab adapt` on a tiny language model."""

import json

import pytest

from byte_lm import byte_lm
from full_disk import files_of_at_most
from tiny import save_lm, tiny_reward
from trimtab.cli.adapt import default_folder
from trimtab.judges.text_judges import TextJudge
from trimtab.rewards.card import read_card

QUICK = ["--texts", 40, "--tokens", 8, "--candidates", 4, "--positions", 1, "--epochs", 1, "--no-bf16"]


@pytest.fixture
def asked(place):
    return ["--model", place / "lm", "--data", place / "train.csv", "--text-column", "sentence", *QUICK]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A V-head on a model of another tokenizer, both in folders beside each other."""
    folder = tmp_path_factory.mktemp("teacher")
    lm = byte_lm("gpt2", merges=[("w", "1")])
    save_lm(lm, folder / "lm")
    lm.name = str(folder / "lm")
    tiny_reward(lm, "v", attributes=("toxic",)).save_pretrained(folder / "reward")
    tiny_reward(lm, "q").save_pretrained(folder / "q")
    return folder / "reward"


def test_a_classifier_becomes_a_reward_and_the_command_that_uses_it_is_printed(trimtab, asked, tmp_path):
    done = trimtab("adapt", "--classifier", "profanity", *asked, "--out", tmp_path / "mine")
    card = read_card(tmp_path / "mine")
    assert card.attributes == ("profanity",)
    assert card.provenance["teacher"] == "profanity"
    assert card.provenance["data_sha256"]
    assert done.stdout.startswith("trimtab generate 'I think that' --model ")
    assert done.stdout.endswith(f"--steer {tmp_path / 'mine'}=-30\n")
    assert "about" in done.stderr
    assert "teacher" in done.stderr
    again = trimtab("adapt", "--classifier", "profanity", *asked, "--out", tmp_path / "mine")
    assert "this run is finished" in again.stderr


def test_what_the_sign_means_is_said_and_so_are_missing_texts(trimtab, asked, tmp_path):
    done = trimtab("adapt", "--classifier", "profanity", *asked, "--texts", 4000, "--out", tmp_path / "mine")
    assert "A strength above 0 steers towards profanity, below 0 away from it:" in done.stderr
    assert "of --texts 4000" in done.stderr


def test_the_label_that_teaches_is_said(trimtab, asked, tmp_path, monkeypatch):
    judge = TextJudge("counts", lambda texts: [len(text) % 2 for text in texts], about={"label": "odd"})
    monkeypatch.setattr("trimtab.judges.load.load_judge", lambda spec, words: judge)
    done = trimtab("adapt", "--classifier", "org/counts", *asked, "--out", tmp_path / "mine")
    assert "org/counts teaches its label odd" in done.stderr


@pytest.mark.long
def test_a_run_that_goes_on_says_how_far_it_was_and_refuses_other_texts_at_once(trimtab, asked, tmp_path, monkeypatch):
    words = ["adapt", "--classifier", "profanity", *asked, "--out", tmp_path / "mine"]
    with monkeypatch.context() as before:
        before.setattr("trimtab.training.distil.fit", interrupt)
        assert trimtab(*words, check=False).status == 130
    done = trimtab(*words, "--texts", 50, check=False)
    assert "holds a run of other settings (texts: 40 there, 50 here)" in done.stderr
    own = [word for word in words if word not in ("--data", "--text-column", "sentence", asked[3])]
    assert "(own_texts: False there, True here)" in trimtab(*own, check=False).stderr
    assert "teacher: 36 of 36 are kept from before" in trimtab(*words).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-reward"], "got reward 'no-such-reward'"),
        (["--classifier", "profanity", "--model", "no.gguf"], "there is no such file"),
        (["--classifier", "profanity", "--model", "half"], "it holds no tokenizer"),
    ],
)
def test_a_name_that_is_wrong_is_told_before_anything_loads(trimtab, asked, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    for slow in ("cli.adapt.load_classifier", "models.loading._load_tokenizer", "cli.adapt.read_texts"):
        monkeypatch.setattr(f"trimtab.{slow}", lambda *given, slow=slow: pytest.fail(slow))
    done = trimtab("adapt", *asked, "--out", tmp_path / "o", *words, check=False)
    assert done.status == 1
    assert message in done.stderr


def interrupt(*given, **named):
    raise KeyboardInterrupt


def test_ctrl_c_says_how_to_go_on(trimtab, asked, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.cli.adapt.train", interrupt)
    done = trimtab("adapt", "--classifier", "profanity", *asked, "--out", tmp_path / "mine", check=False)
    assert done.status == 130
    assert done.stderr.endswith("Give the same command again to go on.\ntrimtab: interrupted\n")


def test_a_reward_of_another_tokenizer_is_adapted(trimtab, teacher, asked, tmp_path):
    trimtab("adapt", teacher, *asked, "--out", tmp_path / "mine")
    card = read_card(tmp_path / "mine")
    assert card.attributes == ("toxic",)
    assert card.trunk == "ladder"
    assert card.tokenizer_fingerprint != read_card(teacher).tokenizer_fingerprint
    steered = [name for name in card.quality if name.startswith("agreement_over_prefixes")]
    assert steered == ["agreement_over_prefixes:toxic"]


def test_distil_takes_a_teacher_of_another_tokenizer(trimtab, place, teacher, tmp_path):
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--limit", 40]
    quick = ["--candidates", 4, "--positions", 1, "--no-bf16", "--max-tokens", 6, "--rank", 4, "--lora-rank", 2]
    trimtab("train", "distil", "--teacher", teacher, *data, "--base", place / "lm", *quick, "--out", tmp_path / "mine")
    assert read_card(tmp_path / "mine").provenance["teachers_of_texts"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got neither REWARD nor --classifier"),
        (["toxicity", "--classifier", "profanity"], "got both REWARD and --classifier"),
        (["Q"], "with a 'q' head"),
        (["no-such-reward"], "got reward 'no-such-reward'"),
        (["--classifier", "no/such"], "got the judge 'no/such'"),
        (["--classifier", "onnx:no/such:toxic"], "expected a folder; there is none of that name"),
        (["--classifier", "no/such", "--data", "no.jsonl"], "got the judge 'no/such'"),
        (["--classifier", "CLASSIFIER:sarcasm"], "with the labels neutral, toxic, expected one of these labels"),
        (
            ["--classifier", "profanity", "--classifier", "profanity"],
            "got teachers of 'profanity', 'profanity', expected different",
        ),
        (["toxicity", "--candidates", "100"], "got --candidates 100, expected at most 64"),
        (["toxicity", "--chat"], "has no chat template"),
        (["toxicity", "--tokens", "64"], "got --tokens 64, expected fewer than the model's 64"),
        (["toxicity", "--texts", "1"], "got --texts 1, expected at least 20"),
        (["toxicity", "--data", "no.jsonl"], "no.jsonl"),
        (["toxicity", "--data", "org/words"], "a data set with a split 'train'"),
        (["toxicity", "--data", "org/words", "--split", "validation", "--tokens", "64"], "got --tokens 64"),
        (["toxicity", "--model", "no-such-model"], "cannot load a language model from 'no-such-model'"),
    ],
)
def test_what_cannot_be_adapted_is_refused_before_the_weights_load(
    trimtab, asked, teacher, data_set, tmp_path, monkeypatch, words, message
):
    names = {"id2label": {"0": "neutral", "1": "toxic"}, "label2id": {"neutral": 0, "toxic": 1}, "model_type": "bert"}
    (tmp_path / "classifier").mkdir()
    (tmp_path / "classifier" / "config.json").write_text(json.dumps(names), encoding="utf-8")
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *given: pytest.fail("loaded weights"))
    places = {"Q": str(teacher.with_name("q")), "CLASSIFIER:sarcasm": f"{tmp_path / 'classifier'}:sarcasm"}
    done = trimtab("adapt", *asked, "--out", tmp_path / "o", *[places.get(w, w) for w in words], check=False)
    assert done.status == 1
    assert message in done.stderr
    assert not (tmp_path / "o.run").exists()


@pytest.mark.long
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(trimtab, place, tmp_path):
    """The texts of the model's own, the teacher's scores, the hidden states and the checkpoints are kept."""
    words = ["adapt", "--classifier", "profanity", "--model", place / "lm", *QUICK, "--tokens", 30, "--out"]
    for size in (2_000, 6_000, 30_000, 60_000):
        with files_of_at_most(size):
            done = trimtab(*words, tmp_path / "mine", check=False)
        assert (size, done.status) == (size, 1)
        assert "Traceback" not in done.stderr
        assert str(tmp_path) in done.stderr.splitlines()[-1]
        assert not (tmp_path / "mine").exists()
    trimtab(*words, tmp_path / "mine")
    trimtab(*words, tmp_path / "whole")
    weights = [(tmp_path / name / "reward.safetensors").read_bytes() for name in ("mine", "whole")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("option", ["--text-column", "--split"])
def test_what_says_where_texts_are_needs_data(trimtab, place, tmp_path, option):
    words = ["adapt", "--classifier", "profanity", "--model", place / "lm", *QUICK, "--out", tmp_path / "mine"]
    done = trimtab(*words, option, "sentence", check=False)
    assert done.status == 1
    assert f"got {option}, expected --data with it" in done.stderr


def test_a_text_that_is_trained_on_is_never_held_out(trimtab, asked, tmp_path):
    texts = ["w1 w2", "w2 w3", "w3 w4", "w4 w5 w6", "w5 w6"]
    (tmp_path / "twice.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts * 4), encoding="utf-8")
    words = ["adapt", "--classifier", "profanity", *asked, "--text-column", "text", "--out", tmp_path / "mine"]
    done = trimtab(*words, "--data", tmp_path / "twice.jsonl")
    assert "15 texts of --data left out: they occur earlier in it" in " ".join(done.stderr.split())
    assert read_card(tmp_path / "mine").provenance["texts"] == 4
    (tmp_path / "one.jsonl").write_text('{"text": "w1 w2"}\n' * 9, encoding="utf-8")
    done = trimtab(*words, "--data", tmp_path / "one.jsonl", check=False)
    assert done.status == 1
    assert "got 1 different text in" in done.stderr


def test_a_default_folder_has_both_names():
    assert str(default_folder("toxicity", "models/gemma-3-270m-q4_k_m.gguf")) == "rewards/toxicity-gemma-3-270m-q4_k_m"
    assert str(default_folder("ORG/bert:toxic", "Qwen/Qwen3-0.6B")) == "rewards/bert-toxic-Qwen3-0.6B"


def test_a_reward_of_another_tokenizer_names_the_command_that_adapts_it(trimtab, teacher, place):
    done = trimtab("generate", "w1", "--model", place / "lm", "--steer", f"{teacher}=-10", check=False)
    assert done.status == 1
    assert "trimtab adapt" in done.stderr
