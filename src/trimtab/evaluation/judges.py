"""Judges: who says what a text is. A judge is a name, a threshold and a function from texts to scores in [0, 1]."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, final

import numpy as np

from trimtab.errors import InvalidSetting
from trimtab.evaluation.tasks import Task
from trimtab.lm import reward

TOGETHER = 32
VADER_POSITIVE = 0.05  # of its compound score in [−1, 1]; its authors' convention
EXTRA = "pip install 'trimtab[judges]'"


@final
@dataclass(frozen=True)
class Judge:
    """A judge.

    Attributes:
        name: as typed, of a folder its last part.
        score: of some texts, each in [0, 1]: how toxic, how positive. It may raise, and it may return NaN.
        threshold: from where on a text counts as toxic, as positive.
    """

    name: str
    score: Callable[[Sequence[str]], Sequence[float]]
    threshold: float = 0.5


def load_judge(spec: str, task: Task) -> Judge:
    """A judge by name.

    Args:
        spec: `vader`, `profanity`, `onnx:FOLDER[:LABEL]`, `reward:NAME[:ATTRIBUTE]`, or `ID[:LABEL]` of a transformers
            text-classification model (a folder or a Hub id).
        task: whose word for a label is looked for where none is given.

    Raises:
        InvalidSetting: what it needs is not installed, or it has no such label.
    """
    kind, _, rest = spec.partition(":")
    if spec == "vader":
        return _vader()
    if spec == "profanity":
        return _profanity()
    if kind == "onnx" and rest:
        return _onnx(spec, *_split(rest), task)
    if kind == "reward" and rest:
        return _reward(*_split(rest))
    if close := get_close_matches(spec, ("vader", "profanity")):
        raise InvalidSetting(f"got the judge {spec!r}; did you mean {close[0]!r}?")
    return _pipeline(spec, *_split(spec), task)


def _named(kind: str, name: str, label: str | None) -> str:
    """What to call a judge: no folder's whole path, and no label that was not asked for."""
    short = Path(name).name if Path(name).is_dir() else name
    return ":".join(part for part in (kind, short, label) if part)


def _split(text: str) -> tuple[str, str | None]:
    name, colon, label = text.rpartition(":")
    return (name, label) if colon and "/" not in label and "\\" not in label else (text, None)


def _vader() -> Judge:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise InvalidSetting(f"the judge 'vader' needs: {EXTRA}") from error
    compound = SentimentIntensityAnalyzer().polarity_scores
    return Judge(
        "vader", lambda texts: [(1 + compound(text)["compound"]) / 2 for text in texts], (1 + VADER_POSITIVE) / 2
    )


def _profanity() -> Judge:
    try:
        from profanity_check import predict_prob
    except ImportError as error:
        raise InvalidSetting(f"the judge 'profanity' needs: {EXTRA}") from error
    return Judge("profanity", lambda texts: [float(score) for score in predict_prob(list(texts))])


def _reward(name: str, attribute: str | None) -> Judge:
    model = reward(name)
    column = model.card.attribute_index(attribute)
    low, high = model.card.clamp or (0.0, 1.0)
    return Judge(
        _named("reward", name, attribute), lambda texts: model.score(texts)[:, column].clamp(low, high).tolist()
    )


def _pipeline(spec: str, name: str, label: str | None, task: Task) -> Judge:
    from transformers import pipeline

    from trimtab.frozen.sources import quiet_transformers

    try:
        with quiet_transformers():
            classify = pipeline("text-classification", model=name, top_k=None)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidSetting(
            f"got the judge {spec!r}, expected vader, profanity, onnx:FOLDER, reward:NAME, or a text-classification "
            f"model's folder or Hub id ({reason})"
        ) from error
    labels = [str(each) for each in classify.model.config.id2label.values()]
    wanted = find_label(labels, label, task, spec.removesuffix(f":{label}"))

    def score(texts: Sequence[str]) -> list[float]:
        found = classify(list(texts), truncation=True, batch_size=TOGETHER)
        return [next(each["score"] for each in of_text if each["label"] == wanted) for of_text in found]

    return Judge(_named("", name, label), score)


def _onnx(spec: str, folder: str, label: str | None, task: Task) -> Judge:
    """A classifier's .onnx file with its tokenizer.json or (BERT's) vocab.txt, and config.json for its labels."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InvalidSetting(f"the judge {spec!r} needs: {EXTRA}") from error
    files = sorted(Path(folder).glob("*.onnx"))
    if len(files) != 1:
        raise InvalidSetting(f"got the judge {spec!r}, expected a folder with one .onnx file; it has {len(files)}")
    session = onnxruntime.InferenceSession(str(files[0]), providers=["CPUExecutionProvider"])
    tokenizer = _tokenizer(Path(folder), spec)
    column: list[int] = []

    def score(texts: Sequence[str]) -> list[float]:
        encoded = tokenizer.encode_batch(list(texts))
        given = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        feed = {
            each.name: np.array([getattr(of_text, given[each.name]) for of_text in encoded], dtype=np.int64)
            for each in session.get_inputs()
        }
        logits = np.asarray(session.run(None, feed)[0], dtype=np.float64)
        if not column:
            labels = _labels(Path(folder), logits.shape[1])
            column.append(labels.index(find_label(labels, label, task, spec.removesuffix(f":{label}"))))
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        return (shifted / shifted.sum(1, keepdims=True))[:, column[0]].tolist()

    score([""])  # a fault shows now, not after hours
    return Judge(_named("onnx", folder, label), score)


def _tokenizer(folder: Path, spec: str) -> Any:
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    if (folder / "tokenizer.json").is_file():
        tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "vocab.txt").is_file():
        tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    else:
        raise InvalidSetting(f"got the judge {spec!r}, expected a tokenizer.json or vocab.txt in its folder")
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding()
    return tokenizer


def _labels(folder: Path, count: int) -> list[str]:
    import json

    config = folder / "config.json"
    if not config.is_file():
        return [f"LABEL_{number}" for number in range(count)]
    named = json.loads(config.read_text(encoding="utf-8")).get("id2label", {})
    return [str(named.get(str(number), f"LABEL_{number}")) for number in range(count)]


def find_label(labels: Sequence[str], wanted: str | None, task: Task, spec: str) -> str:
    """The label that is asked for, or that says what the task is about, or the second of two unnamed ones.

    Raises:
        InvalidSetting: none does.
    """
    words = [wanted.lower()] if wanted else [*task.labels, *(["label_1"] if len(labels) == 2 else [])]
    for word in words:
        for label in labels:
            if label.lower() == word:
                return label
    raise InvalidSetting(f"the judge {spec!r} has the labels {', '.join(labels)}; say which, as in {spec}:{labels[-1]}")
