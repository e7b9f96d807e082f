"""Find the layer of a language model that predicts a label best: a linear probe of its hidden states per layer.

    python bench/own_state.py --data sst2_train.jsonl.gz --held-out sst2_dev.jsonl.gz --out own_state.json

A reward on a frozen trunk of the steered model costs no forward. This script finds the depth at which to read it. At
every depth, the state at a text's last token passes the model's final norm, as it does when it steers, and then a
logistic regression.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trimtab.data.tables import read_labelled, select_balanced
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import load_frozen_lm
from trimtab.training.examples import TokenizedTexts

BATCH = 64


@torch.inference_mode()
def last_states(lm: FrozenLM, texts: TokenizedTexts) -> np.ndarray:
    """Return [depths, texts, hidden]: the normed state after each layer at the last token."""
    found = np.zeros((lm.layers, len(texts), lm.output_embedding.shape[1]), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: texts[i]["length"])
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = lm.batch([texts[i]["input_ids"] for i in rows])
        positions = (batch.mask.cumsum(1) - 1).clamp_min(0)
        states = lm.body(batch.ids, attention_mask=batch.mask, position_ids=positions, output_hidden_states=True)
        for depth, of_depth in enumerate(states.hidden_states[1:]):
            last = of_depth[:, -1]
            found[depth, rows] = (last if depth == lm.layers - 1 else lm.final_norm(last)).float().numpy()
    return found


def main(
    data: Annotated[str, typer.Option(help="A table of texts with labels.")],
    held_out: Annotated[str, typer.Option(help="A table of texts to measure on.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    column: str = "label",
    model: str = "smollm2",
    limit: int = 4000,
    held_out_limit: int = 1000,
    max_tokens: int = 64,
) -> None:
    """Print the AUC of every depth."""
    lm = load_frozen_lm(model, dtype=torch.bfloat16)
    train = TokenizedTexts(select_balanced(read_labelled(data, [column]).rows, limit, 0), lm, max_tokens)
    measured = TokenizedTexts(read_labelled(held_out, [column]).rows[:held_out_limit], lm, max_tokens)
    labels, expected = ([x["labels"][0] >= 0.5 for x in texts.examples] for texts in (train, measured))
    auc = []
    for of_train, of_measured in zip(last_states(lm, train), last_states(lm, measured), strict=True):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500)).fit(of_train, labels)
        auc.append(float(roc_auc_score(expected, probe.decision_function(of_measured))))
    table = Table("layers", "AUC")
    for depth, value in enumerate(auc, start=1):
        table.add_row(str(depth), f"{value:.4f}")
    Console().print(table)
    about = {"model": model, "data": Path(data).name, "texts": len(train), "held_out": Path(held_out).name}
    out.write_text(json.dumps({**about, "auc": auc}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
