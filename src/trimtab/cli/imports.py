"""`trimtab import`: convert reward models that others published."""

from pathlib import Path
from typing import Annotated

import typer

from trimtab.cli.console import legible, loading
from trimtab.cli.options import RewardFolder
from trimtab.cli.train_checks import check_attributes
from trimtab.data.files import shown_path
from trimtab.errors import InvalidData

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
    from trimtab.data.jsonlines import is_file
    from trimtab.models.loading import load_codec

    if not is_file(file):
        raise InvalidData(f"got {shown_path(file)}, expected a file with a state dict; there is no such file")
    names = [name.strip() for name in attributes.split(",")]
    check_attributes(names)
    with loading(str(file)):
        from trimtab.rewards.convert_rad import read_rad, reward_from_rad
        from trimtab.rewards.target import check_target

        check_target(out)
        codec = load_codec(base)
        tensors = read_rad(file, names)
    with loading(base):
        import torch

        from trimtab.models.loading import load_frozen_lm

        lm = load_frozen_lm(base, dtype=torch.float32, codec=codec)
    reward = reward_from_rad(tensors, lm, names, out.name, file.name)
    reward.save_pretrained(out)
    typer.echo(f"saved {legible(str(out), keep='')}: {legible(repr(reward), keep='')}")
