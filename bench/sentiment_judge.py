"""Train a sentiment judge that is independent of the rewards: MiniLM on the ends of IMDB reviews.

    python bench/sentiment_judge.py --encoder minilm-l6-v2 --data movie_reviews_train.jsonl.gz --out judges/imdb

The rewards are SmolLM2 trained on SST-2, which is from Rotten Tomatoes. The judge is another model, trained on another
site's reviews. `trimtab evaluate judges` measures it.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from trimtab.data.tables import read_labelled, select_balanced


def main(
    encoder: Annotated[str, typer.Option(help="The encoder: a folder or a Hub id.")],
    data: Annotated[str, typer.Option(help='A table of texts with "label" (1 = positive) and "source".')],
    out: Annotated[Path, typer.Option(help="The folder for the judge.")],
    limit: Annotated[int, typer.Option(help="Reviews to train on, half of each label.")] = 8000,
    max_tokens: Annotated[int, typer.Option(help="Tokens kept of each review; the last ones.")] = 64,
    seed: int = 0,
) -> None:
    """Train the judge and save it as a transformers text-classification folder."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder, truncation_side="left")
    names = {0: "negative", 1: "positive"}
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=2, id2label=names, label2id={name: number for number, name in names.items()}
    )
    rows = [row for row in read_labelled(data, ["label"]).rows if len(row.text.split()) > 60]  # IMDB's are long
    examples = [
        {**tokenizer(row.text, truncation=True, max_length=max_tokens), "labels": int(row.labels[0])}
        for row in select_balanced(rows, limit, seed)
    ]
    settings = TrainingArguments(
        output_dir=str(out),
        num_train_epochs=1,
        per_device_train_batch_size=32,
        learning_rate=1e-4,
        warmup_steps=20,
        weight_decay=0.01,
        logging_steps=25,
        save_strategy="no",
        report_to=[],
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )
    Trainer(model, settings, train_dataset=examples, data_collator=DataCollatorWithPadding(tokenizer)).train()
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(out)


if __name__ == "__main__":
    typer.run(main)
