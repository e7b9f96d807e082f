"""Judges, each against its library asked directly."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

from tiny import WORDS, tiny_lm, tiny_reward, tiny_tokenizer
from trimtab import errors
from trimtab.evaluation import judges
from trimtab.evaluation.judges import find_label, load_judge
from trimtab.evaluation.tasks import TASKS

TOXICITY, SENTIMENT = TASKS["toxicity"], TASKS["sentiment"]
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


def test_a_text_classification_model_is_asked_for_its_label(classifier):
    model = BertForSequenceClassification.from_pretrained(classifier)
    tokenizer = tiny_tokenizer()
    expected = [model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0].softmax(-1).tolist() for text in TEXTS]
    judge = load_judge(str(classifier), SENTIMENT)
    assert judge.name == classifier.name
    assert judge.score(TEXTS) == pytest.approx([of[1] for of in expected], abs=1e-4)
    other = load_judge(f"{classifier}:negative", SENTIMENT)
    assert other.name == f"{classifier.name}:negative"
    assert other.score(TEXTS) == pytest.approx([of[2] for of in expected], abs=1e-4)
    long = load_judge(str(classifier), SENTIMENT).score([" ".join(["w1"] * 200)])  # truncated, no error
    assert 0 <= long[0] <= 1
    with pytest.raises(errors.InvalidSetting, match="neutral, Positive, negative"):
        load_judge(str(classifier), TOXICITY)


def test_labels_are_found_by_name_then_by_place():
    assert find_label(["a", "Toxic"], None, TOXICITY, "x") == "Toxic"
    assert find_label(["LABEL_0", "LABEL_1"], None, TOXICITY, "x") == "LABEL_1"
    assert find_label(["LABEL_0", "LABEL_1"], "label_0", TOXICITY, "x") == "LABEL_0"
    with pytest.raises(errors.InvalidSetting, match="say which"):
        find_label(["LABEL_0", "LABEL_1", "LABEL_2"], None, TOXICITY, "x")


def save_onnx(path, weights):
    """logits = sum over tokens of a row of `weights` each, padding (0) left out by the mask."""
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["floats", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])]
    constants = {"weights": weights, "last": np.array([2]), "middle": np.array([1])}
    graph = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
def test_an_onnx_folder_is_a_judge(tmp_path, kind):
    folder = tmp_path / "tiny-toxic"
    folder.mkdir()
    weights = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    save_onnx(folder / "model.onnx", weights)
    if kind == "vocab.txt":
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        ids = [[2, *(vocabulary.index(word) if word in vocabulary else 1 for word in t.split()), 3] for t in TEXTS]
    else:
        tiny_tokenizer().backend_tokenizer.save(str(folder / kind))
        ids = [Tokenizer.from_file(str(folder / kind)).encode(text).ids for text in TEXTS]
        (folder / "config.json").write_text(json.dumps({"id2label": {"0": "toxic", "1": "fine"}}), encoding="utf-8")
    logits = np.array([weights[of_text].sum(0) for of_text in ids])
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    judge = load_judge(f"onnx:{folder}", TOXICITY)
    assert judge.name == "onnx:tiny-toxic"
    assert judge.score(TEXTS) == pytest.approx(expected[:, 0 if kind == "tokenizer.json" else 1].tolist(), abs=1e-5)
    (folder / "model.onnx").rename(folder / "model.bin")
    with pytest.raises(errors.InvalidSetting, match=r"one \.onnx file"):
        load_judge(f"onnx:{folder}", TOXICITY)


def test_word_lists_are_asked_directly():
    from profanity_check import predict_prob
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    texts = ["What a lovely day!", "This is shit.", "The table."]
    vader, profanity = load_judge("vader", SENTIMENT), load_judge("profanity", TOXICITY)
    compound = [SentimentIntensityAnalyzer().polarity_scores(text)["compound"] for text in texts]
    assert [score >= vader.threshold for score in vader.score(texts)] == [c >= 0.05 for c in compound]
    assert profanity.score(texts) == pytest.approx(predict_prob(texts).tolist())


def test_a_reward_is_a_judge(monkeypatch):
    lm = tiny_lm("llama")
    model = tiny_reward(lm, "q", clamp=(0.0, 1.0))
    monkeypatch.setattr(judges, "reward", lambda name: model)
    judge = load_judge("reward:mine:calm", TOXICITY)
    expected = [model.score(text)[0, 1].clamp(0, 1).item() for text in TEXTS]
    assert judge.score(TEXTS) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(errors.UnknownAttribute):
        load_judge("reward:mine:loud", TOXICITY)


def test_a_judge_that_is_nobody_is_refused():
    with pytest.raises(errors.InvalidSetting, match="expected vader, profanity"):
        load_judge("no/such/folder", TOXICITY)
