"""Prompts on the command line or in a file: checks before a model loads, the seed, and the run over a file."""

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trimtab.jobs import Job, NumberedPrompt, RewindJob
    from trimtab.language_model import LanguageModel
    from trimtab.steering.steer import Steer


def check_sources(prompts: list[str] | None, source: Path | None, target: Path | None) -> None:
    """Refuse what cannot be continued before any model is loaded.

    Raises:
        InvalidSetting: neither or both of prompts and --input, or one of --input and --output.
        InvalidData: --input is no file.
        InvalidPrompt: a prompt is empty.
    """
    if (source is None) != (target is None):
        raise InvalidSetting("got one of --input and --output, expected both or neither")
    if bool(prompts) == bool(source):
        raise InvalidSetting(
            "got prompts and --input, expected one of them"
            if prompts
            else "got no prompts, expected some, or --input and --output"
        )
    if source is not None and not source.is_file():
        raise InvalidData(f"got {str(source)!r}, expected a JSON-lines file; there is no such file")
    if "" in (prompts or []):
        raise InvalidPrompt("got an empty prompt, expected text to continue")


def resolve_seed(typed: int | None, target: Path | None) -> int:
    """The seed that was typed; or the one that an interrupted run drew; or a new one."""
    from trimtab.jobs import SETTINGS_SUFFIX

    if typed is not None:
        return typed
    record = target.with_name(target.name + SETTINGS_SUFFIX) if target else None
    if record is None or not record.exists():
        return secrets.randbits(32)
    try:
        settings = json.loads(record.read_text(encoding="utf-8"))
        return int(settings.get("sampling", settings)["seed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"cannot read {str(record)!r}; choose another --output") from error


def run_with_progress(
    lm: "LanguageModel",
    source: Path,
    target: Path,
    write: "Callable[[Sequence[NumberedPrompt]], list[dict[str, Any]]]",
    job: "Job | RewindJob",
    batch_size: int,
    steer: "Steer | None",
) -> None:
    """Continue a file of prompts. Bad lines are named at the end and make the exit status 1."""
    from trimtab.cli.console import error_console
    from trimtab.cli.progress import counting
    from trimtab.jobs import run_file, steer_room

    with counting("prompts", error_console()) as progress:
        faults = run_file(lm, source, target, write, job, batch_size, progress, steer_room(steer))
    if faults:
        raise InvalidData(f"{source}: {len(faults)} lines skipped, all others are in {target}: " + "; ".join(faults))
