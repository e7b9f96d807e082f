"""`trimtab train draft`: a draft head, with which a language model writes its own texts in fewer forward calls."""

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.console import error_console, legible, loading, report_faults
from trimtab.cli.dataclass_options import expands
from trimtab.cli.train_options import Base, Run, SaveDtype
from trimtab.errors import InvalidSetting
from trimtab.training.draft_settings import DraftSettings

if TYPE_CHECKING:
    from trimtab.drafts.draft_model import DraftModel
    from trimtab.models.codec import TokenizerCodec
    from trimtab.training.draft_texts import DraftData


@expands
def draft(
    settings: Annotated[DraftSettings, "Training"],
    out: Annotated[Path, typer.Option(help="Folder for the draft head: new, empty, or one that holds a draft head.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines with "prompt" (a text that the model continues), "messages" (a conversation that it '
            'answers) or "text" (read as it stands). Default: the model writes behind openings that ship with trimtab.'
        ),
    ] = None,
    run: Run = None,
    base: Base = "smollm2",
    save_dtype: SaveDtype = "bfloat16",
) -> None:
    """Train a draft head: a narrow layer that guesses the model's next tokens, so that one call checks several.

    The model writes texts, and the head learns to write the same. No text changes when it drafts: --speculate draft
    only saves time, and --draft names the folder. Prompts like those that you will give the model make a better head.
    The head fits this very model alone. An interrupted run resumes when the same command is given again.

    Example: trimtab train draft --data prompts.jsonl --out drafts/mine
    """
    from trimtab.cli.train_checks import check_outside
    from trimtab.drafts.draft_model import check_draft_target
    from trimtab.models.loading import load_codec
    from trimtab.training.run_folder import RunFolder, check_named_folder

    run = run or out.with_name(out.name + ".run")
    check_named_folder(out, "--out")
    check_draft_target(out)
    check_outside("--run", run, "--out", out)
    check_outside("--out", out, "--run", run)
    folder = RunFolder(run)
    folder.check()
    codec = load_codec(base)
    if settings.max_tokens > codec.context_length:
        raise InvalidSetting(f"got max_tokens={settings.max_tokens}, expected at most {codec.context_length}")
    found = read(data, codec, settings)
    with loading(base):
        import torch

        from trimtab.cli.progress import Bars
        from trimtab.models.loading import load_frozen_lm
        from trimtab.training.draft import train_draft
        from trimtab.training.facts import command_line, without_folders
        from trimtab.training.fit import RunOptions

        lm = load_frozen_lm(base, dtype=torch.bfloat16 if settings.bf16 else torch.float32, codec=codec)
    source = "openings that ship with trimtab" if data is None else without_folders(str(data))
    facts = {"command": command_line(["trimtab", *sys.argv[1:]]), "data": source, "data_sha256": found.sha256}
    with closing(Bars(error_console())) as bars:
        trained = train_draft(lm, found.prompts, found.texts, settings, RunOptions(folder, bars, out.name, facts))
    save(trained, out, run, save_dtype)


def read(data: Path | None, codec: "TokenizerCodec", settings: DraftSettings) -> "DraftData":
    """Return the prompts and texts of --data, or openings; bad rows are reported.

    Raises:
        InvalidData: the file has no usable row.
        InvalidSetting: a number of texts is given, too, which only openings have.
    """
    from trimtab.training.draft_texts import opening_prompts, read_draft_data

    if data is None:
        return opening_prompts(codec, settings.texts)
    if settings.texts != DraftSettings.texts:
        raise InvalidSetting(f"got --texts {settings.texts} with --data, expected one of them")
    found = read_draft_data(data, codec)
    report_faults(str(data), found.faults)
    return found


def save(trained: "DraftModel", out: Path, run: Path, dtype: str) -> None:
    """Save the head and print how often it is right."""
    import torch
    from rich.text import Text

    trained.save_pretrained(out, getattr(torch, dtype))
    console = error_console()
    console.print(Text(legible(f"saved {out}; settings, metrics and checkpoints are in {run}", keep="")))
    for figure, value in trained.card.quality.items():
        console.print(Text(f"  {legible(figure, keep='')} {value:.3f}"))
