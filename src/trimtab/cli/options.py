"""Options that several commands share, and the language model that they name."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.checking import shown
from trimtab.cli.completion import complete_method, complete_model, complete_reward, complete_steer
from trimtab.cli.console import loading
from trimtab.engines.engine_names import ENGINE_HELP, EngineName, check_engine
from trimtab.errors import InvalidSetting
from trimtab.models.dtypes import Dtype
from trimtab.rewards.heads import HEADS
from trimtab.rewards.other_tokenizer import RETOKENIZE

if TYPE_CHECKING:
    from trimtab.language_model import LanguageModel
    from trimtab.models.codec import TokenizerCodec

Model = Annotated[
    str,
    typer.Option(
        help="The language model: smollm2, a folder, a .gguf file or a Hub id.", autocompletion=complete_model
    ),
]
DtypeOption = Annotated[
    Dtype,
    typer.Option(help="Number format of the model; auto is float32 on a CPU, else the format of the saved weights."),
]
BatchInvariant = Annotated[
    bool,
    typer.Option(
        "--batch-invariant", help="Write each text alone, so that in bfloat16, too, it does not depend on its batch."
    ),
]
EngineOption = Annotated[EngineName, typer.Option(help=ENGINE_HELP)]
SPECULATE = ("lookup", "draft")
DraftOption = Annotated[
    str | None,
    typer.Option(
        "--draft",
        metavar="FOLDER|MODEL",
        help="What drafts with --speculate draft: a draft head (trimtab train draft), or another language model of the "
        "same tokenizer. Default: the draft head that ships for the model.",
    ),
]
Prompts = Annotated[list[str] | None, typer.Argument(help="Texts to continue.")]
Source = Annotated[
    Path | None,
    typer.Option(
        "--input",
        help='Continue the prompts of this file, or of - (standard input): JSON lines with "prompt" or "messages".',
    ),
]
Target = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="Write JSON lines to this file, or to - (standard output). Runs into a file resume, without --force.",
    ),
]
Stop = Annotated[list[str] | None, typer.Option(help="End a text at this string. Repeat for several.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same text. Default: a new one.")]
Chat = Annotated[bool, typer.Option("--chat", help="Send each prompt as a user message, in the model's chat template.")]
System = Annotated[
    str | None,
    typer.Option(
        help='System message before each prompt, but for messages in a file that have one; "" for none, also where the '
        "template would add one. Implies --chat."
    ),
]
SteerOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:ATTRIBUTE]=±BETA",
        help="Steer by a reward, or by two language models: experts:EXPERT,ANTI=ALPHA. Repeat for several.",
        autocompletion=complete_steer,
    ),
]
METHODS = " or ".join(kind.method for kind in HEADS.values())
Method = Annotated[
    str | None,
    typer.Option(help=f"Use the bundled rewards of this method: {METHODS}.", autocompletion=complete_method),
]
Retokenize = Annotated[bool, typer.Option("--retokenize", help=RETOKENIZE)]
RewardName = Annotated[
    str, typer.Argument(help="A bundled reward, a folder or a Hub id.", autocompletion=complete_reward)
]
RewardFolder = Annotated[Path, typer.Option(help="Folder for the reward: new, empty, or one that holds a reward.")]
TextColumn = Annotated[str, typer.Option(help="Column with the text.")]
Split = Annotated[str, typer.Option(help="Split of data sets on the Hub.")]
Force = Annotated[bool, typer.Option("--force", help="Replace existing output files.")]
PrintJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def check_drafts(speculate: Sequence[str], draft: str | None) -> None:
    """Refuse a kind of drafts that there is not, and a draft head that nothing asks for.

    Args:
        speculate: the kinds that are asked for, or that requests may ask for.
        draft: of --draft.

    Raises:
        InvalidSetting: naming the option.
    """
    if wrong := [kind for kind in speculate if kind not in SPECULATE]:
        raise InvalidSetting(f"got --speculate {shown(wrong[0])}, expected {' or '.join(SPECULATE)}")
    if draft is not None and "draft" not in speculate:
        raise InvalidSetting("got --draft, expected --speculate draft with it")


def load_language_model(
    name: str,
    dtype: Dtype,
    batch_invariant: bool = False,
    engine: EngineName = "torch",
    draft: str | None = None,
    codec: "TokenizerCodec | None" = None,
) -> "LanguageModel":
    """Load a language model in a number format, with a spinner. A codec of it that is loaded already is used.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        InvalidSetting: the engine is not installed, or lacks a setting.
        CorruptReward, RewardMismatch: the draft head is damaged, or of another model.
    """
    check_engine(engine, batch_invariant)
    with loading(name):
        from trimtab.loading import on_engine
        from trimtab.models.dtypes import torch_dtype
        from trimtab.models.loading import load_frozen_lm

        base = load_frozen_lm(name, dtype=torch_dtype(dtype), codec=codec)
        return on_engine(base, engine, batch_invariant=batch_invariant, draft=draft)
