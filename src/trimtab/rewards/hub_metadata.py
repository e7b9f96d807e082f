"""The metadata block of a reward's model card on the Hub: licence, base, tags, metrics and their values."""

import math

from huggingface_hub import EvalResult, ModelCardData

from trimtab.models.loading import EMBEDDED, EMBEDDED_HUB_ID
from trimtab.rewards.base_path import is_hub_base
from trimtab.rewards.card import AGREEMENT, RewardCard
from trimtab.rewards.heads import HEADS

METRICS = {  # the Hub's names of our figures
    "accuracy": "accuracy",
    "auc": "roc_auc",
    "spearman": "spearmanr",
    "agreement_over_candidates": "spearmanr",
    "agreement_over_prefixes": "spearmanr",
}
TAGS = ("trimtab", "reward-model", "decoding", "steering")
UNNAMED = "held-out texts"


def hub_metadata(card: RewardCard, name: str, license: str | None) -> str:
    """The metadata block, with its fences, as the Hub reads it.

    Args:
        card: the reward's card. A base that is no Hub id is left out.
        name: the reward's name, without its owner.
        license: an identifier of the Hub, such as "apache-2.0"; None to name none.
    """
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=_data_of(card, figure),  # figures of one type are shown under one name
            dataset_name=_data_of(card, figure),
            metric_type=METRICS[figure.partition(":")[0]],
            metric_name=figure,
            metric_value=round(value, 4),
        )
        for figure, value in _figures(card).items()
    ]
    data = ModelCardData(
        base_model=hub_base(card.base),
        library_name="trimtab",
        license=license,
        metrics=sorted({each.metric_type for each in results}) or None,
        tags=[*TAGS, HEADS[card.head].method],
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def hub_base(base: str) -> str | None:
    """The Hub id of a card's base; None for a base in a folder or a file."""
    if base == EMBEDDED:
        return EMBEDDED_HUB_ID
    return base if is_hub_base(base) else None


def _figures(card: RewardCard) -> dict[str, float]:
    """The figures of quality that the Hub has a name for; those that are no numbers are left out."""
    return {
        figure: value
        for figure, value in card.quality.items()
        if figure.partition(":")[0] in METRICS and isinstance(value, float) and math.isfinite(value)
    }


def _data_of(card: RewardCard, figure: str) -> str:
    """The name of the data that a figure was measured on; agreement is measured on the texts held out in training."""
    name, _, attribute = figure.partition(":")
    held_out = card.provenance.get("held_out") or UNNAMED
    if name.startswith(AGREEMENT):
        return str(held_out)
    return str(card.quality.get(f"measured on:{attribute}") or card.quality.get("measured on") or held_out)
