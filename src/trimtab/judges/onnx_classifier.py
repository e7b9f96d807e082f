"""A text classifier in an ONNX file as a judge."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float
from scipy import special

from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.json_text import parse_json
from trimtab.errors import InvalidSetting, TrimtabError
from trimtab.judges.classifiers import EXTRA, find_label, judge_name
from trimtab.judges.text_judges import TextJudge

MAX_TOKENS = 512
REGRESSION, MULTI_LABEL = "regression", "multi_label_classification"  # transformers' names
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def onnx_judge(spec: str, folder: str, label: str | None, words: Sequence[str]) -> TextJudge:
    """The probability of a label, by a classifier's .onnx file.

    Args:
        spec: the judge as it was named, for messages.
        folder: holds one .onnx file, tokenizer.json or (BERT's) vocab.txt, and config.json if the labels have names.
        label, words: as in `find_label`.

    Raises:
        InvalidSetting: onnxruntime is not installed, a file is missing, or there is no such label.
    """
    classifier = OnnxClassifier(Path(folder), spec)
    try:
        logits = classifier.logits([""])  # a fault shows now, not after hours
    except Exception as error:
        raise _unreadable(spec, error) from error
    if logits.ndim != 2:
        raise InvalidSetting(
            f"got the judge {shown_path(spec)}, expected logits of texts × labels; it has {logits.ndim} axes"
        )
    config = _config(Path(folder))
    labels, kind = _labels(config, logits.shape[1]), config.get("problem_type")
    column = labels.index(find_label(labels, label, words, spec))

    def classify(texts: Sequence[str]) -> list[float]:
        return scores_of(classifier.logits(texts), kind)[:, column].tolist()

    about = {"label": labels[column], "weights_sha256": classifier.digest}
    return TextJudge(judge_name("onnx", folder, label), classify, about=about, bounded=kind != REGRESSION)


def scores_of(logits: Float[np.ndarray, "texts labels"], kind: object) -> Float[np.ndarray, "texts labels"]:
    """The scores of labels, as transformers' text-classification pipeline makes them.

    Args:
        logits: of each label.
        kind: the `problem_type` of config.json: of a regression model the outputs themselves; the sigmoid of labels
            that do not exclude each other, or of a single one; else the softmax.
    """
    if kind == REGRESSION:
        return logits
    if kind == MULTI_LABEL or logits.shape[1] == 1:
        return np.asarray(special.expit(logits))
    return np.asarray(special.softmax(logits, axis=1))


@final
class OnnxClassifier:
    """The session and the tokenizer of a folder. Arguments and errors as in `onnx_judge`.

    Attributes:
        digest: a hash of the .onnx file.
    """

    def __init__(self, folder: Path, spec: str):
        try:
            import onnxruntime
        except ImportError as error:
            raise InvalidSetting(f"the judge {shown_path(spec)} needs: {EXTRA}") from error
        try:
            files, there = sorted(folder.glob("*.onnx")), folder.is_dir()
        except OSError as error:  # a name that is too long, a folder that may not be read
            raise _unreadable(spec, error) from error
        if not there:
            raise InvalidSetting(f"got the judge {shown_path(spec)}, expected a folder; there is none of that name")
        if len(files) != 1:
            raise InvalidSetting(
                f"got the judge {shown_path(spec)}, expected a folder with one .onnx file; it has {len(files)}"
            )
        self.digest = hashlib.sha256(files[0].read_bytes()).hexdigest()[:16]
        try:
            self._session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
            self._tokenizer = _tokenizer(folder, spec)
        except TrimtabError:
            raise
        except Exception as error:  # the errors of onnxruntime and of tokenizers have no class in common
            raise _unreadable(spec, error) from error

    def logits(self, texts: Sequence[str]) -> Float[np.ndarray, "texts labels"]:
        """The logits of each label."""
        encoded = self._tokenizer.encode_batch(list(texts))
        feed = {
            each.name: np.array([getattr(of_text, INPUTS[each.name]) for of_text in encoded], dtype=np.int64)
            for each in self._session.get_inputs()
        }
        return np.asarray(self._session.run(None, feed)[0], dtype=np.float64)


def _tokenizer(folder: Path, spec: str) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if (folder / "tokenizer.json").is_file():
        tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "vocab.txt").is_file():
        tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    else:
        raise InvalidSetting(f"got the judge {shown_path(spec)}, expected a tokenizer.json or vocab.txt in its folder")
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _unreadable(spec: str, error: Exception) -> InvalidSetting:
    reason = getattr(error, "strerror", None) or reason_of(error)
    return InvalidSetting(
        f"got the judge {shown_path(spec)}, expected a classifier that onnxruntime can run ({reason})"
    )


def _config(folder: Path) -> dict[str, Any]:
    """What config.json holds; empty if there is none."""
    file = folder / "config.json"
    content = parse_json(file.read_bytes()) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _labels(config: dict[str, Any], count: int) -> list[str]:
    """The names of the labels, in the order of the logits; LABEL_0, LABEL_1, … if they have none."""
    named = config.get("id2label")
    if not isinstance(named, dict):
        named = {}
    return [str(named.get(str(number), f"LABEL_{number}")) for number in range(count)]
