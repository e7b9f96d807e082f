"""Classifiers from other libraries as judges: VADER, alt-profanity-check, transformers pipelines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trimtab.errors import InvalidSetting
from trimtab.judges.text_judges import TextJudge

BATCH_SIZE = 32
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

    return TextJudge("vader", classify, (1 + VADER_POSITIVE) / 2)


def profanity() -> TextJudge:
    """The probability of profanity, by alt-profanity-check.

    Raises:
        InvalidSetting: alt-profanity-check is not installed.
    """
    try:
        from profanity_check import predict_prob
    except ImportError as error:
        raise InvalidSetting(f"the judge 'profanity' needs: {EXTRA}") from error
    return TextJudge("profanity", lambda texts: [float(score) for score in predict_prob(list(texts))])


def text_classification(spec: str, model: str, label: str | None, words: Sequence[str]) -> TextJudge:
    """The probability of a label, by a transformers text-classification model.

    Args:
        spec: the judge as it was named, for messages.
        model: a folder or a Hub id.
        label, words: as in `find_label`.

    Raises:
        InvalidSetting: no such model, or it has no such label.
    """
    from transformers import pipeline

    from trimtab.models.loading import quiet_transformers

    try:
        with quiet_transformers():
            classifier = pipeline("text-classification", model=model, batch_size=BATCH_SIZE)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InvalidSetting(
            f"got the judge {spec!r}, expected vader, profanity, onnx:FOLDER, reward:NAME, or a text-classification "
            f"model's folder or Hub id ({reason})"
        ) from error
    labels = [str(each) for each in classifier.model.config.id2label.values()]
    found = find_label(labels, label, words, spec)
    return replace(TextJudge.from_pipeline(classifier, found), name=judge_name("", model, label))


def find_label(labels: Sequence[str], label: str | None, words: Sequence[str], spec: str) -> str:
    """The label of a classifier that a judge looks for; case is ignored.

    Args:
        labels: the classifier's labels.
        label: the label that was asked for; None to look for `words`, then for the second of two unnamed labels.
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
    without = spec.removesuffix(f":{label}")
    raise InvalidSetting(
        f"got the judge {without!r} with the labels {', '.join(labels)}, expected one of these labels behind its name, "
        f"as in {without}:{labels[-1]}"
    )


def judge_name(kind: str, model: str, label: str | None) -> str:
    """The name of a judge in tables: without the path of a folder, and with the label only if it was asked for."""
    short = Path(model).name if Path(model).is_dir() else model
    return ":".join(part for part in (kind, short, label) if part)
