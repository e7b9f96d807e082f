"""`trimtab replay`: write the texts of a file again from their provenance."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trimtab.cli.console import error_console, legible, loading, print_json
from trimtab.cli.judges import load_search_judge
from trimtab.cli.options import PrintJson, load_language_model
from trimtab.cli.ranking import load_ranking
from trimtab.errors import InvalidData, InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab.data.jsonlines import Line
    from trimtab.engines.engine_names import EngineName
    from trimtab.jobs import Job, Replayed, RewindJob
    from trimtab.language_model import LanguageModel
    from trimtab.models.dtypes import Dtype
    from trimtab.steering.steer import Steer

SHOWN_FAULTS = 20  # rows that differ
SHOWN_NOTES = 3  # versions, or devices


def replay(
    file: Annotated[
        Path,
        typer.Argument(help='JSON lines of "generate" or "rewind", from --output or --json; - for standard input.'),
    ],
    batch_size: Annotated[int, typer.Option(help="Texts that are written together.")] = 16,
    as_json: PrintJson = False,
) -> None:
    """Write the texts of a file again from their provenance, and say which differ.

    Each row names its model, rewards with their fingerprints, settings and seed. A row whose weights are not the same
    here is not written. The exit status is 1 if a text differs or could not be written.

    Example: trimtab replay texts.jsonl
    """
    from trimtab.cli.progress import counting
    from trimtab.data.jsonlines import input_lines
    from trimtab.versions import versions

    if batch_size < 1:
        raise InvalidSetting(f"got --batch-size {batch_size}, expected at least 1")
    lines = list(input_lines(file))
    if not lines:
        raise InvalidData(f"got {str(file)!r}, expected rows; it is empty")
    if not any(isinstance(line.row.get("provenance"), dict) for line in lines if line.row):
        fault = lines[0].fault or "line 1 has none"
        raise InvalidData(
            f"got {str(file)!r}, expected rows with their provenance, as --output and --json write them; {fault}"
        )
    from trimtab.jobs import replay_rows  # here, because it imports torch

    note_machines(lines, versions())
    loader = JobLoader()
    with counting("rows", error_console()) as progress:
        found = replay_rows(lines, loader, batch_size, progress)
    for device in loader.devices():
        note_machines(lines, {"device": device})
    show(found, as_json)
    if faults := sum(result.fault is not None for result in found):
        raise InvalidData(f"{faults} of {len(found)} rows differ or could not be written")


class JobLoader:
    """Loads what a job names; a model is loaded once for all jobs of its name, dtype and engine."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, Dtype, bool, EngineName], LanguageModel] = {}

    def devices(self) -> list[str]:
        """The devices of the models that were loaded."""
        return sorted({lm.engine.describe()["device"] for lm in self._models.values()})

    def __call__(self, job: "Job | RewindJob") -> "tuple[LanguageModel, Steer | None, Any]":
        """The language model, the steer, and the judge of a search, or what ranks drafts."""
        from trimtab.jobs import RewindJob
        from trimtab.models.loading import load_codec
        from trimtab.rewards.registry import check_steers, load_steers

        check_steers(job.steer, job.method, load_codec(job.model), job.retokenize)
        key = job.model, job.dtype, not isinstance(job, RewindJob) and job.batch_invariant, job.engine
        if key not in self._models:
            self._models[key] = load_language_model(*key)
        lm = self._models[key]
        with loading("rewards"):
            steer = load_steers(job.steer, job.method, lm.base, job.retokenize)
            if not isinstance(job, RewindJob):
                return lm, steer, load_ranking(job, lm.base)
            alone, retokenize = job.judge_alone, job.retokenize
            return lm, steer, load_search_judge(job.judge, lm, job.judge_chat, job.judge_soft, alone, retokenize)


def note_machines(lines: "Sequence[Line]", here: "Mapping[str, str]") -> None:
    """Say on stderr if the rows say that they come from another device or other versions. Nobody can check that here.

    Args:
        lines: the rows.
        here: versions by package, or the device.
    """
    records = [line.row.get("provenance") for line in lines if line.row]
    for name, value in here.items():
        there = {str(record.get(name)) for record in records if isinstance(record, dict)} - {value}
        if there:
            shown = ", ".join(sorted(there)[:SHOWN_NOTES]) + (", …" if len(there) > SHOWN_NOTES else "")
            note = f"note: rows say that they were written with {name} {shown}; this is {value}"
            error_console().print(legible(note, keep=""), markup=False, soft_wrap=True)


def show(found: "Sequence[Replayed]", as_json: bool) -> None:
    """Print which rows differ, and how many are the same."""
    different = [result for result in found if result.fault]
    if as_json:
        for result in found:
            print_json(
                {"row": result.number, "same": result.fault is None, "fault": result.fault, "token": result.place}
            )
        return
    for result in different[:SHOWN_FAULTS]:
        typer.echo(legible(f"row {result.number}: {result.fault}"))
    if len(different) > SHOWN_FAULTS:
        typer.echo(f"… and {len(different) - SHOWN_FAULTS} more")
    typer.echo(
        f"{len(found)} rows: {len(found) - len(different)} the same, {len(different)} differ or were not written"
    )
