"""Classifiers of other libraries as judges, each against its library asked directly."""

import json
import shutil

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaForSequenceClassification

from reward_models import save_decoder, save_encoder
from tiny import WORDS, save_lm, tiny_tokenizer
from trimtab.cli.sweep_command import load_judges
from trimtab.errors import InvalidSetting
from trimtab.judges.base import description_of
from trimtab.judges.classifiers import find_label, profanity, text_classification, vader
from trimtab.judges.load import load_judge
from trimtab.judges.notation import POSITIVE, TOXIC, judge_from_text
from trimtab.training.text_teacher import ClassifierTeacher

TEXTS = ["w1 w2 w3", "w9", "w4 w4 w4 w4 w5", "w1 w60"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny BERT with three labels, in a folder."""
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    names = {0: "neutral", 1: "Positive", 2: "negative"}
    config = BertConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("label", "column"), [(None, 1), ("negative", 2), ("NEUTRAL", 0)])
def test_a_transformers_model_judges_by_the_probability_of_its_label(classifier, label, column):
    model, tokenizer = BertForSequenceClassification.from_pretrained(classifier), tiny_tokenizer()
    with torch.no_grad():
        logits = [model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0].double() for text in TEXTS]
    expected = [float(each.softmax(-1)[column]) for each in logits]
    judge = text_classification("spec", str(classifier), label, POSITIVE)
    assert judge.name == classifier.name + (f":{label}" if label else "")
    assert judge.classify(TEXTS) == pytest.approx(expected, abs=1e-4)


def test_a_long_text_is_truncated(classifier):
    (score,) = text_classification("spec", str(classifier), None, POSITIVE).classify([" ".join(["w1"] * 200)])
    assert 0 <= score <= 1


def test_a_model_without_the_label_is_refused_with_its_labels(classifier):
    with pytest.raises(InvalidSetting, match="neutral, Positive, negative"):
        text_classification("spec", str(classifier), None, TOXIC)


def test_the_label_is_looked_for_before_the_weights_are_read(classifier, monkeypatch):
    monkeypatch.setattr("trimtab.judges.classifiers._pipeline", lambda folder: pytest.fail("read the weights"))
    with pytest.raises(InvalidSetting, match="expected one of these labels"):
        text_classification("spec", str(classifier), "sarcastic", TOXIC)


@pytest.mark.parametrize("pad", [False, True])
def test_a_reward_model_of_one_output_scores_by_its_sigmoid(tmp_path, pad):
    """The layout of TRL's RewardTrainer, with and without a padding token."""
    save_decoder(tmp_path, pad=pad)
    model, tokenizer = LlamaForSequenceClassification.from_pretrained(tmp_path), tiny_tokenizer()
    with torch.no_grad():
        logits = [model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, 0].double() for text in TEXTS]
    judge = text_classification("spec", str(tmp_path), None, ())
    assert judge.classify(TEXTS) == pytest.approx([float(each.sigmoid()) for each in logits], abs=1e-4)
    assert judge.bounded


def test_a_text_is_cut_where_the_tokenizer_does_not_say_how_long_it_may_be(tmp_path):
    save_encoder(tmp_path, labels=2)
    words = ["w1", "w2", "w3"] * 20
    judge = text_classification("spec", str(tmp_path), None, ())
    assert judge.classify([" ".join(words)]) == pytest.approx(judge.classify([" ".join(words[:30])]))


def test_a_regression_model_keeps_its_scale_and_judges_no_search(tmp_path):
    save_encoder(tmp_path, problem_type="regression")
    model, tokenizer = BertForSequenceClassification.from_pretrained(tmp_path), tiny_tokenizer()
    with torch.no_grad():
        outputs = [float(model(torch.tensor([tokenizer(text)["input_ids"]])).logits) for text in TEXTS]
    judge = load_judge(str(tmp_path))
    assert judge.classify(TEXTS) == pytest.approx(outputs, abs=1e-4)
    teacher = ClassifierTeacher(judge)
    assert teacher.clamp is None
    assert teacher.score(TEXTS)[:, 0].tolist() == pytest.approx(outputs, abs=1e-4)
    for load in (lambda: judge_from_text(f"{tmp_path}=+1"), lambda: load_judges([str(tmp_path)], ())):
        with pytest.raises(InvalidSetting, match="a regression model on the scale of its labels"):
            load()


def test_a_model_that_does_not_exist_is_refused():
    with pytest.raises(InvalidSetting, match="expected vader, profanity"):
        text_classification("no/such/folder", "no/such/folder", None, TOXIC)


@pytest.mark.parametrize(
    ("labels", "label", "found"),
    [
        (["a", "Toxic"], None, "Toxic"),
        (["LABEL_0", "LABEL_1"], None, "LABEL_1"),
        (["LABEL_0", "LABEL_1"], "label_0", "LABEL_0"),
        (["hate", "toxic"], None, "toxic"),
        (["LABEL_0"], None, "LABEL_0"),
    ],
)
def test_labels_are_found_by_name_then_by_index(labels, label, found):
    assert find_label(labels, label, TOXIC, "x") == found


def test_a_classifier_with_several_unnamed_labels_needs_a_label():
    with pytest.raises(InvalidSetting, match=r"as in 'x:LABEL_2'"):
        find_label(["LABEL_0", "LABEL_1", "LABEL_2"], None, TOXIC, "x")


def test_vader_scores_its_compound_and_keeps_its_threshold():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    texts = ["What a lovely day!", "This is shit.", "The table."]
    compound = [SentimentIntensityAnalyzer().polarity_scores(text)["compound"] for text in texts]
    judge = vader()
    assert judge.classify(texts) == pytest.approx([0.5 + each / 2 for each in compound])
    assert [score >= judge.threshold for score in judge.classify(texts)] == [each >= 0.05 for each in compound]


def test_profanity_scores_the_librarys_probability():
    from profanity_check import predict_prob

    texts = ["What a lovely day!", "This is shit."]
    assert profanity().classify(texts) == pytest.approx(predict_prob(texts).tolist())


def test_classifiers_are_described_by_their_weights_or_their_library(classifier, tmp_path):
    judge = text_classification("spec", str(classifier), None, POSITIVE)
    described = description_of(judge)
    assert described["label"] == "Positive"
    model = BertForSequenceClassification.from_pretrained(classifier)
    with torch.no_grad():
        model.classifier.bias[0] += 1
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    changed = description_of(text_classification("spec", str(tmp_path), None, POSITIVE))
    assert len(described["weights_sha256"]) == len(changed["weights_sha256"]) == 16
    assert described["weights_sha256"] != changed["weights_sha256"]
    assert description_of(vader())["library"].startswith("vaderSentiment ")
    assert description_of(profanity())["library"].startswith("alt-profanity-check ")


def test_damaged_weights_are_refused_without_a_foreign_error(classifier, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(classifier, damaged)
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InvalidSetting, match="expected vader, profanity"):
        text_classification("spec", str(damaged), None, POSITIVE)


def test_a_language_model_is_no_classifier(llama, tmp_path, capfd):
    """Its classification head would be random. Its config names no class here, so that the loader must find it."""
    save_lm(llama, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    capfd.readouterr()
    with pytest.raises(InvalidSetting, match="it is no classifier: 1 of the weights are missing"):
        load_judge(str(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_a_classifier_loads_without_a_word(classifier, capfd):
    capfd.readouterr()
    text_classification("spec", str(classifier), None, POSITIVE)
    assert capfd.readouterr() == ("", "")
