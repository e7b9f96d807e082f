"""ONNX classifiers as judges, against the sum of a weight per token."""

import json
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from tiny import WORDS, tiny_tokenizer
from trimtab.errors import InvalidSetting
from trimtab.judges.base import description_of
from trimtab.judges.notation import TOXIC
from trimtab.judges.onnx_classifier import onnx_judge, scores_of

TEXTS = ["w1 w2 w3", "w9", "w4 w4 w4 w4 w5", "w1 w60"]


def save_onnx(path, weights):
    """Save a model whose logits are the sum over tokens of a row of `weights` each, without padding."""
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


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "tiny-toxic"
    path.mkdir()
    return path


@pytest.fixture
def weights(folder):
    found = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    save_onnx(folder / "model.onnx", found)
    return found


def probabilities(weights, ids):
    logits = np.array([weights[of_text].sum(0, dtype=np.float64) for of_text in ids])
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_a_folder_with_a_tokenizer_and_named_labels_is_a_judge(folder, weights):
    tiny_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "toxic", "1": "fine"}}), encoding="utf-8")
    ids = [Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids for text in TEXTS]
    judge = onnx_judge("spec", str(folder), None, TOXIC)
    assert judge.name == "onnx:tiny-toxic"
    assert judge.classify(TEXTS) == pytest.approx(probabilities(weights, ids)[:, 0].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        (None, lambda logits: np.exp(logits[:, 0]) / np.exp(logits).sum(1)),
        ("multi_label_classification", lambda logits: 1 / (1 + np.exp(-logits[:, 0]))),
        ("regression", lambda logits: logits[:, 0]),
    ],
)
def test_the_problem_of_the_config_decides_what_the_logits_mean(folder, weights, kind, share):
    tiny_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    config = {"id2label": {"0": "toxic", "1": "fine"}, "problem_type": kind}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ids = [Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids for text in TEXTS]
    logits = np.array([weights[of_text].sum(0, dtype=np.float64) for of_text in ids])
    judge = onnx_judge("spec", str(folder), None, TOXIC)
    assert judge.classify(TEXTS) == pytest.approx(share(logits).tolist(), abs=1e-5)
    assert judge.bounded == (kind != "regression")


def test_a_single_label_has_the_sigmoid():
    assert scores_of(np.array([[0.0], [2.0]]), None)[:, 0].tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2))])


def test_a_folder_with_a_vocabulary_and_unnamed_labels_is_a_judge(folder, weights):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    ids = [[2, *(vocabulary.index(word) if word in vocabulary else 1 for word in t.split()), 3] for t in TEXTS]
    judge = onnx_judge("spec", str(folder), None, TOXIC)
    assert judge.classify(TEXTS) == pytest.approx(probabilities(weights, ids)[:, 1].tolist(), abs=1e-5)
    named = onnx_judge("spec", str(folder), "label_0", TOXIC)
    assert named.name == "onnx:tiny-toxic:label_0"
    assert named.classify(TEXTS) == pytest.approx(probabilities(weights, ids)[:, 0].tolist(), abs=1e-5)


def test_incomplete_folders_are_refused(folder, weights):
    with pytest.raises(InvalidSetting, match=r"tokenizer\.json or vocab\.txt"):
        onnx_judge("spec", str(folder), None, TOXIC)
    (folder / "model.onnx").rename(folder / "model.bin")
    with pytest.raises(InvalidSetting, match=r"one \.onnx file; it has 0"):
        onnx_judge("spec", str(folder), None, TOXIC)


def test_the_description_holds_a_hash_of_the_file(folder, weights):
    tiny_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    first = description_of(onnx_judge("spec", str(folder), None, TOXIC))
    save_onnx(folder / "model.onnx", weights + 1)
    second = description_of(onnx_judge("spec", str(folder), None, TOXIC))
    assert first["weights_sha256"] != second["weights_sha256"]
    assert first["label"] == second["label"] == "LABEL_1"


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json"])
def test_a_damaged_file_is_refused_without_a_foreign_error(folder, weights, damaged):
    tiny_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / damaged).write_bytes(b"\x00nothing")
    with pytest.raises(InvalidSetting, match="'spec', expected a classifier"):
        onnx_judge("spec", str(folder), None, TOXIC)


@pytest.mark.parametrize("config", ["[]", '{"id2label": ["a", "b"]}', '{"id2label": null}', "3"])
def test_labels_of_another_form_have_no_names(folder, weights, config):
    tiny_tokenizer().backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(config, encoding="utf-8")
    assert onnx_judge("spec", str(folder), None, TOXIC).about["label"] == "LABEL_1"
