"""Options that several commands share, and the language model that they name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.models.dtypes import Dtype, torch_dtype
from trimtab.rewards.heads import HEADS

if TYPE_CHECKING:
    from trimtab.language_model import LanguageModel

Model = Annotated[str, typer.Option(help="The language model: smollm2, a folder, a .gguf file or a Hub id.")]
DtypeOption = Annotated[
    Dtype,
    typer.Option(help="Number format of the model; auto is float32 on a CPU, else the format of the saved weights."),
]
Prompts = Annotated[list[str] | None, typer.Argument(help="Texts to continue.")]
Source = Annotated[
    Path | None,
    typer.Option("--input", help='Continue the prompts of this file: JSON lines with "prompt" or "messages".'),
]
Target = Annotated[
    Path | None, typer.Option("--output", help="Write JSON lines to this file. Interrupted runs resume.")
]
Stop = Annotated[list[str] | None, typer.Option(help="End a text at this string. Repeat for several.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same text. Default: a new one.")]
Chat = Annotated[bool, typer.Option("--chat", help="Send each prompt as a user message, in the model's chat template.")]
System = Annotated[str | None, typer.Option(help="System message before the prompt. Implies --chat.")]
SteerOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[:ATTRIBUTE]=±BETA", help="Steer by a reward. Repeat for several."),
]
METHODS = " or ".join(kind.method for kind in HEADS.values())
Method = Annotated[str | None, typer.Option(help=f"Use the bundled rewards of this method: {METHODS}.")]
RewardName = Annotated[str, typer.Argument(help="A bundled reward, a folder or a Hub id.")]
RewardFolder = Annotated[Path, typer.Option(help="Folder for the reward: new, empty, or one that holds a reward.")]
TextColumn = Annotated[str, typer.Option(help="Column with the text.")]
PrintJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def load_language_model(name: str, dtype: Dtype) -> "LanguageModel":
    """Load a language model in a number format.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
    """
    from trimtab.language_model import load

    return load(name, dtype=torch_dtype(dtype))
