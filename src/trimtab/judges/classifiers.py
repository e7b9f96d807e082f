"""Classifiers from other libraries as judges: VADER, alt-profanity-check, transformers pipelines."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

from trimtab.data.files import shown_path
from trimtab.data.hub import fetch, reason_of
from trimtab.data.visible import legible
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.judges.classifier_config import check_classifier_config
from trimtab.judges.text_judges import TextJudge

BATCH_SIZE = 32
UNUSED_POSITIONS = 2  # of models whose positions start behind the padding's, as RoBERTa's
LABELS_WIDTH = 300  # characters of a message
FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin")  # of a classifier on the Hub
VADER_POSITIVE = 0.05  # of the compound score in [−1, 1]: its authors' convention
EXTRA = "pip install 'trimtab[judges]'"


def vader() -> TextJudge:
    """VADER's compound sentiment, mapped from [−1, 1] to [0, 1].

    Raises:
        InvalidSetting: vaderSentiment is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError as error:
        raise InvalidSetting(f"the judge 'vader' needs: {EXTRA}") from error
    compound = SentimentIntensityAnalyzer().polarity_scores

    def classify(texts: Sequence[str]) -> list[float]:
        return [(1 + compound(text)["compound"]) / 2 for text in texts]

    return TextJudge("vader", classify, (1 + VADER_POSITIVE) / 2, about=_library("vaderSentiment"))


def profanity() -> TextJudge:
    """The probability of profanity, by alt-profanity-check.

    Raises:
        InvalidSetting: alt-profanity-check is not installed.
    """
    try:
        from profanity_check import predict_prob
    except ImportError as error:
        raise InvalidSetting(f"the judge 'profanity' needs: {EXTRA}") from error
    about = _library("alt-profanity-check")
    return TextJudge("profanity", lambda texts: [float(score) for score in predict_prob(list(texts))], about=about)


def _library(package: str) -> dict[str, str]:
    return {"library": f"{package} {version(package)}"}


def text_classification(spec: str, model: str, label: str | None, words: Sequence[str]) -> TextJudge:
    """The probability of a label, by a transformers text-classification model.

    Args:
        spec: the judge as it was named, for messages.
        model: a folder or a Hub id.
        label, words: as in `find_label`.

    Raises:
        InvalidSetting: no such model, or it has no such label.
    """
    classifier, found = load_pipeline(spec, model, label, words)
    return replace(TextJudge.from_pipeline(classifier, found), name=judge_name("", model, label))


def load_pipeline(spec: str, model: str, label: str | None, words: Sequence[str]) -> tuple[Any, str]:
    """A text-classification pipeline and one of its labels. Arguments and errors as in `text_classification`."""
    with _faults_of(spec):
        folder = Path(model) if Path(model).is_dir() else fetch(model, FILES)
        check_classifier_config(folder)
        labels = _labels(str(folder))
    found = find_label(labels, label, words, spec)  # before the weights are read
    with _faults_of(spec):
        return _pipeline(str(folder)), found


@contextmanager
def _faults_of(spec: str) -> Iterator[None]:
    """Load quietly, and turn every fault of a classifier's files into InvalidSetting."""
    try:
        with quiet_loading():
            yield
    except Exception as error:  # a damaged folder may raise any error of transformers or of safetensors
        raise InvalidSetting(
            f"got the judge {shown_path(spec)}, expected vader, profanity, onnx:FOLDER, reward:NAME, or a "
            f"text-classification model's folder or Hub id ({reason_of(error)})"
        ) from error


def _labels(folder: str) -> list[str]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return [str(each) for each in config.id2label.values()]


def _pipeline(folder: str) -> Any:
    """The pipeline of a classifier whose weights are all there.

    Raises:
        InvalidData: some are missing: it is no classifier, such as a language model.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    if missing := sorted(report["missing_keys"]):
        raise InvalidData(f"it is no classifier: {len(missing)} of the weights are missing, such as {missing[0]}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and tokenizer.model_max_length > positions:  # the tokenizer does not say where to cut
        tokenizer.model_max_length = positions - UNUSED_POSITIONS
    pads = tokenizer.pad_token_id is not None and model.config.pad_token_id is not None
    size = BATCH_SIZE if pads else 1  # without padding, as many decoders are saved
    return pipeline("text-classification", model=model, tokenizer=tokenizer, batch_size=size)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide the progress bars and the reports of transformers while a classifier loads: faults are in the error."""
    from transformers.utils import logging as transformers_logging

    from trimtab.models.loading import quiet_transformers

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    try:
        with quiet_transformers():
            yield
    finally:
        transformers_logging.set_verbosity(before)


def find_label(labels: Sequence[str], label: str | None, words: Sequence[str], spec: str) -> str:
    """The label of a classifier that a judge looks for; case is ignored.

    Args:
        labels: the classifier's labels.
        label: the label that was asked for; None to look for `words`, then for the second of two unnamed labels, then
            for the only label, such as that of a reward model.
        words: labels that mean what the judge looks for, such as "toxic" and "hate".
        spec: the judge as it was named, for the message.

    Raises:
        InvalidSetting: there is no such label.
    """
    wanted = [label.lower()] if label else [*words, *(["label_1"] if len(labels) == 2 else [])]
    for word in wanted:
        for each in labels:
            if each.lower() == word:
                return each
    if label is None and len(labels) == 1:
        return labels[0]
    without = spec.removesuffix(f":{label}")
    raise InvalidSetting(
        f"got the judge {shown_path(without)} with the labels {named_labels(labels)}, expected one of these labels "
        f"behind its name, as in {shown_path(f'{without}:{labels[-1]}')}"
    )


def named_labels(labels: Sequence[str]) -> str:
    """The labels of a classifier as messages show them: on one line, cut."""
    return legible(shorten(", ".join(labels), LABELS_WIDTH, placeholder=" …"), keep="")


def judge_name(kind: str, model: str, label: str | None) -> str:
    """The name of a judge in tables: without the path of a folder, and with the label only if it was asked for."""
    short = Path(model).name or Path(model).resolve().name if Path(model).is_dir() else model
    return ":".join(part for part in (kind, short, label) if part)
