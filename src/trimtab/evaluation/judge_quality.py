"""How judges agree with scores that came with a data set: Perspective's, or people's labels."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, roc_auc_score

from trimtab.evaluation.judges import Judge
from trimtab.evaluation.readings import read_safely
from trimtab.files import read_record
from trimtab.training.data import LabelledText

SEEN_FILE = "judges.json"
TOGETHER = 256


def measure_judges(judges: Sequence[Judge], rows: Sequence[LabelledText]) -> dict[str, dict[str, Any]]:
    """Spearman's ρ, AUC and accuracy of each judge against the rows' first label, from ½ on counting as high.

    Texts that a judge fails on are counted in `failed`, and left out of its figures.
    """
    labels = np.array([row.labels[0] for row in rows])
    return {judge.name: _measure(judge, [row.text for row in rows], labels) for judge in judges}


def _measure(judge: Judge, texts: Sequence[str], labels: np.ndarray) -> dict[str, Any]:
    faults: list[str] = []

    def read(chunk: Sequence[Any]) -> list[list[float]]:
        return [[float(score)] for score in judge.score([each["text"] for each in chunk])]

    given = [{"text": text} for text in texts]
    chunks = [given[start : start + TOGETHER] for start in range(0, len(given), TOGETHER)]
    scores = np.array([value for chunk in chunks for (value,) in read_safely(read, chunk, faults)])
    known = ~np.isnan(scores)
    high, said = labels[known] >= 0.5, scores[known]
    both = bool(high.any() and not high.all())
    return {
        "spearman": float(spearmanr(labels[known], said).statistic) if both else math.nan,
        "auc": float(roc_auc_score(high, said)) if both else math.nan,
        "accuracy": float(accuracy_score(high, said >= judge.threshold)) if known.any() else math.nan,
        "texts": int(known.sum()),
        "failed": int((~known).sum()),
        "faults": faults,
    }


def keep_seen(folder: Path, source: str, found: dict[str, dict[str, Any]]) -> None:
    """Put it into a comparison's folder, for its report; that of other data stays."""
    folder.mkdir(parents=True, exist_ok=True)
    record = read_seen(folder)
    record[source] = record.get(source, {}) | found
    (folder / SEEN_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_seen(folder: Path) -> dict[str, Any]:
    """What `keep_seen` put into a folder."""
    return read_record(folder / SEEN_FILE)
