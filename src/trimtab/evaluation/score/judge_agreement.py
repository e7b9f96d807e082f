"""How judges agree with the scores of a data set, such as Perspective's or people's labels; and with each other."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, roc_auc_score

from trimtab.data.tables import LabelledText
from trimtab.evaluation.score.readers import finite_if_reward
from trimtab.evaluation.score.readings import read_safely
from trimtab.judges.base import Judge, description_of, threshold_of
from trimtab.judges.draft import Draft

BATCH_SIZE = 256
HIGH = 0.5  # labels from here on count as high


def measure_judges(judges: Sequence[Judge], rows: Sequence[LabelledText]) -> dict[str, dict[str, Any]]:
    """Spearman's ρ, AUC and accuracy of each judge against the first label of the rows.

    Labels of at least ½ count as high. Texts on which a judge fails are left out of its figures and counted in
    `failed`; `faults` says why. `made_of` says what the judge is made of.

    Args:
        judges: judges that read texts alone.
        rows: texts with labels.

    Raises:
        NonFiniteReward: a judge is a reward, and a score is NaN or infinite.
    """
    labels = np.array([row.labels[0] for row in rows])
    return {judge.name: _measure(judge, [row.text for row in rows], labels) for judge in judges}


def _measure(judge: Judge, texts: Sequence[str], labels: Float[np.ndarray, " texts"]) -> dict[str, Any]:
    faults: list[str] = []

    def read(batch: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        scores = judge.score([Draft("", (), (), each["text"]) for each in batch], None)
        return [[score] for score in finite_if_reward(judge, scores)]

    given = [{"text": text} for text in texts]
    batches = [given[start : start + BATCH_SIZE] for start in range(0, len(given), BATCH_SIZE)]
    scores = np.array([value for batch in batches for (value,) in read_safely(read, batch, faults)])
    known = ~np.isnan(scores)
    high, found = labels[known] >= HIGH, scores[known]
    both = bool(high.any() and not high.all())
    ranked = both and bool(np.ptp(found) > 0)  # equal scores have no ranks
    return {
        "spearman": float(spearmanr(labels[known], found).statistic) if ranked else math.nan,
        "auc": float(roc_auc_score(high, found)) if both else math.nan,
        "accuracy": float(accuracy_score(high, found >= threshold_of(judge))) if known.any() else math.nan,
        "texts": int(known.sum()),
        "failed": int((~known).sum()),
        "faults": faults,
        "made_of": description_of(judge),
    }


def agreement(
    scores: Mapping[str, Float[np.ndarray, " texts"]], thresholds: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """The agreement of each pair of judges: Spearman's ρ, and the share of texts with the same verdict.

    Args:
        scores: of each judge by name, for the same texts; NaN where it failed.
        thresholds: of each judge by name; the verdict is whether a score reaches it.
    """
    found = {}
    for one, other in combinations(scores, 2):
        both = ~np.isnan(scores[one]) & ~np.isnan(scores[other])
        first, second = scores[one][both], scores[other][both]
        varied = len(first) > 1 and np.ptp(first) > 0 and np.ptp(second) > 0
        same = (first >= thresholds[one]) == (second >= thresholds[other])
        found[f"{one} ~ {other}"] = {
            "spearman": float(spearmanr(first, second).statistic) if varied else math.nan,
            "same verdict": float(same.mean()) if len(first) else math.nan,
            "texts": float(both.sum()),
        }
    return found
