"""`trimtab import`: convert reward models that others published."""

from pathlib import Path
from typing import Annotated

import typer

from trimtab.cli.options import RewardFolder

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Convert published reward models."""


@app.command()
def rad(
    file: Annotated[
        Path,
        typer.Argument(help="State dict as RAD's authors released it. Only weights are read from it; no code runs."),
    ],
    attributes: Annotated[str, typer.Option(help="Name of each output, in order, separated by commas.")],
    out: RewardFolder,
    base: Annotated[
        str, typer.Option(help="GPT-2 model that the reward was trained from: a folder or a Hub id.")
    ] = "gpt2",
) -> None:
    """Convert a released RAD checkpoint to a reward with a V-head, to steer with or to distil.

    Example: trimtab import rad rad_rms/gpt2_sentiment/pytorch_model.bin --attributes positive --out rewards/positive
    """
    import torch

    from trimtab.errors import InvalidData
    from trimtab.models.loading import load_frozen_lm
    from trimtab.rewards.convert_rad import convert_rad
    from trimtab.rewards.folder import check_target

    check_target(out)
    if not file.is_file():
        raise InvalidData(f"got {str(file)!r}, expected a file with a state dict; there is no such file")
    names = [name.strip() for name in attributes.split(",")]
    reward = convert_rad(file, load_frozen_lm(base, dtype=torch.float32), names, out.name)
    reward.save_pretrained(out)
    typer.echo(f"saved {out}: {reward!r}")
