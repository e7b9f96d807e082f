"""`trimtab import`: rewards that others published."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Turn published reward models into rewards.")


@app.callback()
def group() -> None:
    """Turn published reward models into rewards."""


@app.command()
def rad(
    file: Annotated[Path, typer.Argument(help="A state dict as RAD's authors released it; read as weights only.")],
    attributes: Annotated[str, typer.Option(help="A name for each output, in order, separated by commas.")],
    out: Annotated[Path, typer.Option(help="The folder for the reward: new, empty, or an older reward's.")],
    base: Annotated[str, typer.Option(help="The GPT-2 that the reward was trained from.")] = "gpt2",
) -> None:
    """Turn a released RAD checkpoint into a V-head reward, to steer with or to distil.

    Example: trimtab import rad rad_rms/gpt2_sentiment/pytorch_model.bin --attributes positive --out rewards/positive
    """
    import torch

    from trimtab.errors import InvalidData
    from trimtab.frozen.sources import load_frozen
    from trimtab.rewards.folder import check_target
    from trimtab.rewards.released import import_rad

    check_target(out)
    if not file.is_file():
        raise InvalidData(f"got {str(file)!r}, expected a state dict; there is no such file")
    names = [name.strip() for name in attributes.split(",")]
    reward = import_rad(file, load_frozen(base, dtype=torch.float32), names, out.name)
    reward.save_pretrained(out)
    typer.echo(f"saved {out}: {reward!r}")
