"""Options that the commands which train share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Run = Annotated[
    Path | None, typer.Option(help="Folder for settings, metrics and checkpoints. Default: OUT.run, beside --out.")
]
Base = Annotated[
    str, typer.Option(help="The language model that the reward reads: smollm2, a folder, a .gguf file or a Hub id.")
]
LabelRange = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Lowest and highest label; they become 0 and 1. Default: 0 1."),
]
SaveDtype = Annotated[
    Literal["bfloat16", "float16", "float32"], typer.Option(help="Number format of the saved weights.")
]
