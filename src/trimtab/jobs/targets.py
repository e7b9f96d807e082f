"""Where the rows of a job go: a file that an interrupted run resumes, or a stream."""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import TextIOBase
from pathlib import Path
from typing import Any, Protocol, cast, final, runtime_checkable

from filelock import FileLock, Timeout

from trimtab.data.differences import differences
from trimtab.data.files import read_record
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import STANDARD_STREAM, append_rows, drop_torn_line, read_lines
from trimtab.data.outputs import lock_path, write_whole
from trimtab.data.visible import count_of, legible_json
from trimtab.engines.provenance import LATER, MACHINE
from trimtab.errors import InvalidData, InvalidOutput
from trimtab.jobs.job import Job, RewindJob, job_of
from trimtab.jobs.row_schema import row_fault
from trimtab.jobs.target_path import check_target_path, has_content, is_pipe, settings_path

KEPT = "put a whole copy of it back, without which the rows cannot be continued; or choose another path"


@runtime_checkable
class Target(Protocol):
    """Receives rows, batch by batch."""

    def claimed(self, settings: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Hold the target for rows of these settings."""

    def finished(self, samples: int, prompts: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """The lines of the prompts that need not be continued again."""

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows of a batch."""

    def check_whole(self, samples: int, lines: Collection[int]) -> None:
        """Check that it has every row that it received."""


@final
class FileTarget:
    """A JSON-lines file. Each batch is on the disk before the next starts, and an interrupted run resumes.

    The settings are kept beside it, with the fingerprints of the model and the rewards.

    Args:
        path: the file, which may be a symbolic link.
        source: the input, which must be another file.
        replace: start again: what the file holds is removed when it is first claimed, whoever wrote it.

    Raises:
        InvalidOutput: the path cannot be written, or is the input.
        InvalidData: it is to be compressed, or holds something that is not ours and may not be replaced.
    """

    def __init__(self, path: Path, source: Path | None = None, replace: bool = False):
        self.path = check_target_path(path, source, replace)
        self.replace = replace
        self.settings = settings_path(self.path).resolve()

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Hold the file's lock, and check or write the settings beside it.

        Raises:
            InvalidOutput: another process holds it.
            InvalidData: it was written with other settings or other weights.
        """
        self._check(settings)  # before a lock file appears beside a file that is not ours
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path(self.path))
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise InvalidOutput(f"another process writes {str(self.path)!r}; wait, or choose another path") from error
        try:
            if self.replace:
                self.path.unlink(missing_ok=True)
                self.replace = False  # what it holds from now on is ours
            self._check(settings)
            if not has_content(self.path):
                write_whole(self.settings, dump_json(settings, indent=2) + "\n")
            yield
        finally:
            lock.release()

    def check_job(self, job: Job | RewindJob) -> None:
        """Refuse a file that another job wrote.

        Raises:
            InvalidData: the message says which setting differs.
        """
        recorded = read_record(self.settings, advice=KEPT).get("job") if self._resumes() else None
        if recorded is not None:
            self._refuse({"job": recorded}, {"job": parse_json(dump_json(job.record()))})

    def check_rows(self, prompts: Mapping[int, Mapping[str, Any]] | None) -> None:
        """Refuse rows that cannot be resumed; an unfinished last line is none.

        Args:
            prompts: what each line of the input gives; None if it is not known yet.

        Raises:
            InvalidData: a row does not answer the prompt of its line, another run made it, or a line is no row.
        """
        rows = self._rows() if self._resumes() else []
        recorded = completed(read_record(self.settings, advice=KEPT)) if rows else {}
        for row in rows:
            self._check_made(row, recorded)
        if prompts is not None:
            self._check_answers(rows, prompts)

    def _check_answers(self, rows: Sequence[Mapping[str, Any]], prompts: Mapping[int, Mapping[str, Any]]) -> None:
        for row in rows:
            given = prompts.get(row["line"])
            if given is None or any(row.get(key) != value for key, value in given.items()):
                raise InvalidData(
                    f"{str(self.path)!r} answers other prompts than the input has; choose another path, or add --force"
                )

    def _refuse(self, recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        if differing := differences(completed(recorded), settings, MACHINE, LATER):
            raise InvalidData(
                f"{str(self.path)!r} was written with other settings ({differing}); choose another path, or add --force"
            )

    def _resumes(self) -> bool:
        return not self.replace and has_content(self.path)

    def _check(self, settings: Mapping[str, Any]) -> None:
        if self._resumes():
            self._refuse(read_record(self.settings, advice=KEPT), settings)
            for row in self._rows():
                self._check_made(row, settings)

    def _check_made(self, row: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Refuse a row whose provenance says that something else made it."""
        made: Mapping[str, Any] = row["provenance"]
        try:
            job = parse_json(dump_json(job_of(made).record()))
        except InvalidData as error:
            raise InvalidData(
                f"{str(self.path)!r} is damaged: line {row['line']}: {error}; remove the row, or choose another path"
            ) from error
        both = [name for name in settings if name in made]
        recorded = {name: made[name] for name in both} | {"job": job}
        if differing := differences(recorded, {name: settings[name] for name in both}, MACHINE, LATER):
            raise InvalidData(
                f"{str(self.path)!r} has a row that its settings did not make: line {row['line']} ({differing}); "
                "remove the row, or choose another path"
            )

    def finished(self, samples: int, prompts: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """The lines of the prompts that have all their samples; rows of a half-written batch are removed.

        Raises:
            InvalidData: a row does not answer the prompt of its line, or a line is no row.
        """
        drop_torn_line(self.path)
        if not self.path.exists():
            return set()
        rows = self._rows()
        self._check_answers(rows, prompts)
        finished = _complete_lines(rows, samples)
        if any(row["line"] not in finished for row in rows):
            self._write(row for row in rows if row["line"] in finished)
        return finished

    def complete_lines(self, samples: int) -> set[int]:
        """The lines of the prompts that have all their samples, where a run would resume. Nothing is changed."""
        return _complete_lines(self._rows(), samples) if self._resumes() else set()

    def check_whole(self, samples: int, lines: Collection[int]) -> None:
        """Check at the end of a run that nothing has changed the file meanwhile.

        Args:
            samples: of each prompt.
            lines: of the prompts that were continued.

        Raises:
            InvalidOutput: it lacks rows.
            InvalidData: it has rows more than once, or other lines.
        """
        whole = _complete_lines(self._rows(), samples) if self.path.exists() else set()
        if missing := len(set(lines) - whole):
            raise InvalidOutput(
                f"{str(self.path)!r} lacks rows of {count_of(missing, 'prompt')}: something else changed or moved it "
                "during the run; run the same command again"
            )

    def sort(self) -> None:
        """Put the rows in the order of the input, if there are any."""
        if not has_content(self.path):
            return
        rows = self._rows()
        ordered = sorted(rows, key=lambda row: (row["line"], row["sample"]))
        if ordered != rows:
            self._write(ordered)

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        write_whole(self.path, "".join(dump_json(row) + "\n" for row in rows))

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for line in read_lines(self.path, torn=False):
            if line.row is None or (fault := row_fault(line.row)):
                fault = str(line.fault) if line.row is None else f"line {line.number}: {fault}"
                raise InvalidData(f"{str(self.path)!r} is damaged: {fault}; remove the line, or choose another path")
            rows.append(line.row)
        self._check_once(rows)
        return rows

    def _check_once(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Refuse two rows of one sample: which of them counts is not ours to say."""
        counted = Counter((row["line"], row["sample"]) for row in rows)
        if twice := [place for place, times in counted.items() if times > 1]:
            line, sample = twice[0]
            raise InvalidData(
                f"{str(self.path)!r} is damaged: it has sample {sample} of line {line} more than once; remove the rows "
                "that do not belong, or choose another path"
            )

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append a batch, and wait until the disk has it."""
        append_rows(self.path, rows)


def _complete_lines(rows: Sequence[Mapping[str, Any]], samples: int) -> set[int]:
    written: dict[int, list[int]] = {}
    for row in rows:
        written.setdefault(row["line"], []).append(row["sample"])
    return {line for line, found in written.items() if sorted(found) == list(range(samples))}


@final
class StreamTarget:
    """JSON lines into a stream, such as standard output. Nothing resumes.

    Characters that a terminal acts on are escapes.

    Args:
        stream: a text stream.
    """

    def __init__(self, stream: TextIOBase):
        self._stream = stream

    @contextmanager
    def claimed(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Nothing to hold: each row carries its settings."""
        yield

    def finished(self, samples: int, prompts: Mapping[int, Mapping[str, Any]]) -> set[int]:
        """None."""
        return set()

    def check_whole(self, samples: int, lines: Collection[int]) -> None:
        """Nothing: what was written is gone."""

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write a batch and flush it."""
        self._stream.writelines(legible_json(dump_json(row)) + "\n" for row in rows)
        self._stream.flush()


@contextmanager
def open_target(path: Path, source: Path | None = None, replace: bool = False) -> Iterator[Target]:
    """The target of a path: standard output for `-`, a pipe that is read, or a file.

    Arguments and errors as in `FileTarget`; a stream has nothing to replace.
    """
    if str(path) == STANDARD_STREAM:
        yield StreamTarget(cast(TextIOBase, sys.stdout))
    elif is_pipe(path):
        with open(open_pipe(path), "w", encoding="utf-8") as pipe:
            yield StreamTarget(pipe)
    else:
        yield FileTarget(path, source, replace)


def open_pipe(path: Path) -> int:
    """Open a pipe for writing, and return its descriptor.

    Raises:
        InvalidOutput: nothing reads it, so that writing would wait for ever.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidOutput(f"got --output {str(path)!r}, expected a pipe that something reads") from error
    os.set_blocking(descriptor, True)
    return descriptor


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings, whose job gets the settings that it lacks: it was written with their defaults."""
    if not isinstance(settings.get("job"), Mapping):
        return dict(settings)
    return {**settings, "job": parse_json(dump_json(job_of({"job": settings["job"]}).record()))}


def drawn_seed(target: Path | None) -> int:
    """The seed that an interrupted run drew for this target; a new one if the target has no rows.

    Raises:
        InvalidData: the settings beside the target cannot be read.
    """
    if target is None or str(target) == STANDARD_STREAM or not has_content(target):
        return secrets.randbits(32)
    record = settings_path(target.resolve())
    try:
        job = read_record(record, advice=KEPT)["job"]
        return int(job.get("sampling", job)["seed"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidData(f"cannot read {str(record)!r}; choose another path, or add --force") from error
