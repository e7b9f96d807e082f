"""The summary of a training table, which is shown before training starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from rich.table import Table
from rich.text import Text

from trimtab.data.visible import legible
from trimtab.models.frozen_lm import FrozenLM
from trimtab.training.examples import encode_all

SAMPLED = 3


@final
@dataclass(frozen=True)
class Summary:
    """Lengths, class balance and a sample.

    Attributes:
        facts: the figures for the reward's card; a "warning" if all labels are on one side.
        table: the figures and the sample for people.
    """

    facts: dict[str, Any]
    table: Table


def summarize(texts: Sequence[str], lm: FrozenLM, max_tokens: int, labels: Mapping[str, Sequence[float]]) -> Summary:
    """Count tokens and labels.

    Args:
        texts: the texts to train on.
        lm: the language model, for its tokenizer.
        max_tokens: the length at which longer texts are cut.
        labels: for each attribute, the label of each text.
    """
    lengths = np.array([len(ids) for ids in encode_all(lm, texts)])
    median, most = (int(np.quantile(lengths, share)) for share in (0.5, 0.95))
    cut = int((lengths > max_tokens).sum())
    balance = {name: float(np.mean(np.array(of_name) >= 0.5)) for name, of_name in labels.items()}
    table = Table(show_header=False, box=None, highlight=False)
    table.add_row("texts", f"{len(texts):,}, {int(lengths.sum()):,} tokens")
    table.add_row("tokens per text", f"median {median}, 95 % up to {most}, longest {lengths.max()}")
    table.add_row("cut", f"{cut} texts longer than {max_tokens} tokens lose their end")
    for name, share in balance.items():
        soft = np.mean([label not in (0, 1) for label in labels[name]])
        given = f"{share:.1%} high (label ≥ 0.5)" + (f", {soft:.0%} soft" if soft else "")
        table.add_row(Text(legible(name, keep="")), Text(given))
    for place in range(min(SAMPLED, len(texts))):
        given = " ".join(f"{name}={of_name[place]:g}" for name, of_name in labels.items())
        table.add_row(Text(legible(f"sample {given}", keep="")), Text(legible(repr(texts[place][:100]))))
    facts: dict[str, Any] = {"tokens": int(lengths.sum()), "median_tokens": median, "share_high": balance}
    if one_sided := [name for name, share in balance.items() if share in (0, 1)]:
        facts["warning"] = f"all labels of {', '.join(one_sided)} are on one side of 0.5: there is nothing to learn"
    return Summary(facts, table)
