"""`trimtab train datastore`: store hidden states with the tokens that followed, to mix into the base."""

from functools import partial
from typing import Annotated

import typer

from trimtab.cli.console import error_console, legible, loading
from trimtab.cli.dataclass_options import expands
from trimtab.cli.options import RewardFolder, TextColumn
from trimtab.cli.train_checks import check_attributes
from trimtab.cli.train_options import Base, SaveDtype
from trimtab.cli.train_rows import TrainRows
from trimtab.training.datastore_settings import DatastoreSettings, check_context
from trimtab.training.recipe import Source


@expands
def datastore(
    source: Source,
    settings: Annotated[DatastoreSettings, "Datastore"],
    out: RewardFolder,
    base: Base = "smollm2",
    attribute: Annotated[str, typer.Option(help="Name of the attribute.")] = "datastore",
    text_column: TextColumn = "text",
    prompt_column: Annotated[
        str | None,
        typer.Option(help="Column with a prompt before each text; only the tokens of the text are stored."),
    ] = None,
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Store hidden states of texts with the tokens that followed, to mix into the base (RTD, 2409.20181).

    Nothing is trained. Steer with β = 1, as --steer rewards/kind-store=+1: the text is then sampled from
    λ q + (1 − λ) p, where q are the tokens that followed the nearest states.

    Example: trimtab train datastore --data kind_letters.jsonl --keys 20000 --mix 0.3 --out rewards/kind-store

    Example: trimtab train datastore --data questions.csv --prompt-column question --text-column answer --out
    rewards/answers
    """
    from trimtab.data.tables import read_prompted, select_rows
    from trimtab.models.loading import load_codec, load_frozen_lm
    from trimtab.rewards.target import check_target

    check_target(out)
    check_attributes([attribute])
    check_context(load_codec(base).context_length, settings)
    console = error_console()
    divided = TrainRows(source, console)
    read = partial(read_prompted, text_column=text_column, prompt_column=prompt_column)
    table = divided.report_faults(read(source.data, split=source.split), source.data)
    held = read(source.held_out, split=source.held_out_split) if source.held_out else None
    rows, held_out = divided.split(select_rows(table.rows, source.limit, settings.seed), held)
    with loading(base):
        lm = load_frozen_lm(base)
    import torch

    from trimtab.training.datastore import build_datastore

    reward = build_datastore(lm, attribute, rows, held_out, settings, out.name, divided.provenance())
    reward.save_pretrained(out, getattr(torch, save_dtype))
    console.print(legible(f"saved {out}: {reward.card.keys} keys", keep=""), markup=False)
    for name, value in reward.card.quality.items():
        console.print(f"  {name} {value:.4f}" if isinstance(value, float) else f"  {name} {value}", markup=False)
