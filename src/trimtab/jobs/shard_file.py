"""The file of a shard's rows, while batches of it come back in any order."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, final

from trimtab.data.files import read_record
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import read_lines
from trimtab.jobs.job import Job
from trimtab.jobs.prompts import NumberedPrompt, read_prompts
from trimtab.jobs.shards import Shard
from trimtab.jobs.target_path import has_content
from trimtab.jobs.targets import KEPT, FileTarget
from trimtab.models.codec import TextCodec


class Batch(NamedTuple):
    """Prompts that are continued together.

    Attributes:
        shard: the number of their shard, from 0.
        prompts: some of its prompts.
    """

    shard: int
    prompts: Sequence[NumberedPrompt]


class Written(NamedTuple):
    """What became of a batch.

    Attributes:
        shard: the number of its shard.
        rows: of the prompts that were continued.
        faults: of the others, by line.
        about: the provenance of the rows.
    """

    shard: int
    rows: Sequence[dict[str, Any]]
    faults: Mapping[int, str]
    about: Mapping[str, Any]


@final
class ShardFile:
    """Reads a shard, finds the prompts that wait for their rows, and writes those rows once.

    The file is locked from its first batch to its last one. Then its rows are in the order of the input.

    Args:
        shard: its files.
        codec: encodes the prompts.
        job: the settings.
        replace: as in `FileTarget`.

    Raises:
        InvalidData: the shard cannot be read, or its file was written with other settings or is damaged.
        InvalidSetting: a conversation, and the model has no chat template.
    """

    def __init__(self, shard: Shard, codec: TextCodec, job: Job, replace: bool = False):
        self._shard, self._job, self._held = shard, job, ExitStack()
        self._target = FileTarget(shard.target, shard.source, replace)
        self._target.check_job(job)
        self.prompts, bad = read_prompts(shard.source, codec, job.chat, job.system)
        self.faults = [f"{shard.source.name}: {fault}" for fault in bad]
        self._given = {prompt.line: prompt.given for prompt in self.prompts}
        self._target.check_rows(self._given)
        self._waiting = set(self._given) - self._target.complete_lines(job.samples)
        self._unwritten: set[int] = set()  # the lines whose prompts could not be continued
        self._is_open = False

    @property
    def done(self) -> int:
        """How many prompts need no more work."""
        return len(self.prompts) - len(self._waiting)

    def batches(self, number: int, size: int) -> Iterator[Batch]:
        """The prompts that wait for their rows.

        Args:
            number: of this shard.
            size: prompts of a batch.
        """
        waiting = [prompt for prompt in self.prompts if prompt.line in self._waiting]
        for start in range(0, len(waiting), size):
            yield Batch(number, waiting[start : start + size])

    def empty(self, about: Mapping[str, Any]) -> None:
        """Remove the rows that the file has, so that a run that writes all files again can be resumed.

        Args:
            about: the provenance of the rows to come.

        Raises:
            InvalidOutput: another process writes it.
        """
        if has_content(self._target.path):
            with self._target.claimed(self._settings(about)):
                pass

    def take(self, written: Written) -> int:
        """Write the rows of a batch that the file has not yet; returns how many prompts wait no longer.

        Raises:
            InvalidData: other settings or weights wrote the file.
            InvalidOutput: another process writes it, or has taken rows out of it.
        """
        before = self.done
        if not self._is_open:
            self._open(written.about)
        rows = [row for row in written.rows if row["line"] in self._waiting]
        faults = {line: fault for line, fault in written.faults.items() if line in self._waiting}
        if rows:
            self._target.append(rows)
        self._waiting -= {row["line"] for row in rows} | set(faults)
        self.faults += [f"{self._shard.source.name}: line {line}: {fault}" for line, fault in faults.items()]
        self._unwritten |= set(faults)
        if self.done > before and not self._waiting:
            self._target.check_whole(self._job.samples, set(self._given) - self._unwritten)
            self._target.sort()
            self.close()
        return self.done - before

    def sort(self) -> None:
        """Put the rows of a complete file in the order of the input, if the run that completed it could not.

        Raises:
            InvalidData, InvalidOutput: as in `take`.
        """
        path = self._target.path
        if self._given and not self._waiting and not in_order(path):
            with self._target.claimed(read_record(self._target.settings, advice=KEPT)):
                self._target.sort()

    def close(self) -> None:
        """Release the file."""
        self._held.close()

    def _open(self, about: Mapping[str, Any]) -> None:
        self._held.enter_context(self._target.claimed(self._settings(about)))
        self._waiting = set(self._given) - self._target.finished(self._job.samples, self._given)
        self._is_open = True

    def _settings(self, about: Mapping[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = parse_json(dump_json({"job": self._job.record(), **about}))
        return settings


def in_order(path: Path) -> bool:
    """Whether the rows of a file are in the order of the input."""
    places = [(line.row["line"], line.row["sample"]) for line in read_lines(path, torn=False) if line.row]
    return places == sorted(places)
