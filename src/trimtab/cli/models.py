"""The language model, as typed on the command line."""

from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.evaluation.settings import Dtype

if TYPE_CHECKING:
    from trimtab.lm import LanguageModel

Model = Annotated[str, typer.Option(help="smollm2, a folder, a .gguf file or a Hub id.")]
Numbers = Annotated[Dtype, typer.Option(help="Of the model: float32, bfloat16, or auto (float32 on a CPU).")]


def load_in(name: str, dtype: Dtype) -> "LanguageModel":
    """The language model in the numbers asked for."""
    import torch

    from trimtab.lm import load

    return load(name, dtype=None if dtype == "auto" else getattr(torch, dtype))
