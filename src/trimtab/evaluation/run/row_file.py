"""The file of a row: its settings on the first line, then one line per text, batch by batch.

The first line also says what made the texts: `made_by` has an entry for each version of the packages, each device and
each data file that wrote some of them, with the number of the first text. Only `settings` is compared when a run
resumes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, final

from filelock import FileLock, Timeout

from trimtab.data.differences import differences
from trimtab.data.files import file_name
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.data.outputs import lock_path, write_whole
from trimtab.errors import InvalidData, InvalidOutput
from trimtab.evaluation.run.row_schema import settings_fault, text_fault

SUFFIX = ".jsonl"
WEIGHTS = "weights_fingerprint"  # of the model
REWARDS = "rewards"  # the fingerprints of their weights
CARDS = "card_fingerprints"  # of the rewards
LATER = (WEIGHTS, CARDS)  # files of older versions lack them
UNSAID = {"chat": False}  # what a row means that does not say otherwise
FIRST = "first_text"  # in an entry of made_by: the number of texts before it


class RowContent(NamedTuple):
    """What a row's file holds: the settings, the texts, and what made them (empty in files of older versions)."""

    settings: dict[str, Any]
    texts: list[dict[str, Any]]
    made_by: list[dict[str, Any]]


@final
class RowFile:
    """The file with the texts of one row.

    Args:
        path: the file; the first text creates it.
        settings: every setting that decides the texts.
        made_by: what writes the texts: versions, device, rewards. A run with another record resumes, and adds its own.
        prompts: what the texts continue, by place; empty to compare none.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        made_by: Mapping[str, Any] | None = None,
        prompts: Sequence[str] = (),
    ):
        self.path, self.prompts = path, prompts
        self.settings = parse_json(dump_json(settings))
        self.made_by = parse_json(dump_json(made_by or {}))

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the row's lock; yields False if another process holds it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not self.path.is_file():
            raise InvalidOutput(f"{str(self.path)!r} is not a regular file; choose another --out")
        lock = FileLock(lock_path(self.path))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def resume(self, batches: Iterable[int]) -> int:
        """Count the batches in the file, and remove an unfinished one.

        Args:
            batches: the number of texts in each batch.

        Raises:
            InvalidData: the file was written with other settings.
        """
        drop_torn_line(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            append_rows(self.path, [_head(self.settings, [{FIRST: 0, **self.made_by}])])
        found = read_row(self.path)
        self.check(found)
        lines, whole, done, every = len(found.texts), 0, 0, list(batches)
        for batch in every:
            if whole + batch > lines:
                break
            whole, done = whole + batch, done + 1
        if whole < lines:
            self._keep_lines(1 + whole)
        if done < len(every):
            self._sign(found, whole)
        return done

    def check(self, found: RowContent | None = None) -> None:
        """Check that the file, if there is one, belongs to these settings.

        Raises:
            InvalidData: it was written with other settings, or is damaged.
        """
        if found is None:
            if not self.path.is_file() or b"\n" not in self.path.read_bytes():
                return
            found = read_row(self.path)
        if differing := differences(UNSAID | settings_of(found), UNSAID | self.settings, later=LATER):
            raise InvalidData(
                f"{str(self.path)!r} was written with other settings ({differing}); remove it or choose another --out"
            )
        for number, text in enumerate(found.texts, start=2):
            if self.prompts and text["prompt"] != self.prompts[text["place"]]:
                raise InvalidData(
                    f"{str(self.path)!r} is damaged: line {number}: it continues another prompt; remove it to write "
                    "the row again"
                )

    def append(self, texts: Iterable[dict[str, Any]]) -> None:
        """Append a batch, and force it to the disk."""
        append_rows(self.path, texts)

    def _sign(self, found: RowContent, texts: int) -> None:
        """Add what writes the next texts to the first line, if it is not what wrote the last ones."""
        kept = [entry for entry in found.made_by if entry[FIRST] < texts]
        last = {name: value for name, value in kept[-1].items() if name != FIRST} if kept else None
        entries = kept if last == self.made_by else [*kept, {FIRST: texts, **self.made_by}]
        if entries != found.made_by:
            _, end, rest = self.path.read_bytes().partition(b"\n")
            write_whole(self.path.resolve(), dump_json(_head(found.settings, entries)).encode() + end + rest)

    def _keep_lines(self, count: int) -> None:
        with self.path.open("r+b") as file:
            kept = sum(len(line) for line in islice(file, count))
            file.truncate(kept)


def read_row(path: Path) -> RowContent:
    """Read a row; an unfinished last line is left out.

    Raises:
        InvalidData: the file is not the file of a row, or is damaged.
    """
    lines = list(read_lines(path))
    if lines and lines[-1].fault:
        lines.pop()
    for line in lines[1:]:
        if fault := line.fault or (f"line {line.number}: {wrong}" if (wrong := text_fault(line.row or {})) else ""):
            raise InvalidData(f"{str(path)!r} is damaged: {fault}; remove it to write the row again")
    head = lines[0].row if lines else None
    if head is None or (fault := settings_fault(head.get("settings"))):
        fault = fault if head else "its first line has no settings"
        raise InvalidData(f"{str(path)!r} is not the file of a row: {fault}; move it elsewhere")
    made_by = head.get("made_by", [])
    if not isinstance(made_by, list) or not all(map(_is_maker, made_by)):
        raise InvalidData(f"{str(path)!r} is damaged: 'made_by' in its first line is no list of records; remove it")
    found = RowContent(head["settings"], [line.row for line in lines[1:] if line.row is not None], made_by)
    for number, text in enumerate(found.texts):
        place, sample = divmod(number, found.settings["samples"])
        if place >= found.settings["prompts_count"]:
            raise InvalidData(f"{str(path)!r} is damaged: it has more texts than prompts; remove it")
        if (text["place"], text["sample"]) != (place, sample):
            raise InvalidData(
                f"{str(path)!r} is damaged: line {number + 2}: got sample {text['sample']} of prompt {text['place']}, "
                f"expected sample {sample} of prompt {place}; remove it to write the row again"
            )
    return found


def settings_of(found: RowContent) -> dict[str, Any]:
    """The settings of a row; those of older versions get the fingerprint of the weights from what made the texts."""
    known = [entry[WEIGHTS] for entry in found.made_by if WEIGHTS in entry]
    return {WEIGHTS: known[0], **found.settings} if known else found.settings


def _head(settings: Mapping[str, Any], made_by: list[dict[str, Any]]) -> dict[str, Any]:
    return {"settings": settings, "made_by": made_by}


def _is_maker(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get(FIRST)) is int


def row_name(settings: Mapping[str, Any]) -> str:
    """The name of a row's file, without suffix, by its settings."""
    beta = settings["beta"]
    method = settings["method"] if beta is None else f"{settings['method']}={beta:g}"
    return file_name(f"{settings['prompts']}--{settings['direction']}--{method}")


def row_paths(folder: Path) -> list[Path]:
    """The files of a comparison's rows.

    Raises:
        InvalidData: there is no such folder, or it has none.
    """
    if not folder.is_dir():
        raise InvalidData(f"got {str(folder)!r}, expected the folder of a comparison: there is no such folder")
    if paths := sorted(folder.glob(f"*{SUFFIX}")):
        return paths
    raise InvalidData(f"got {str(folder)!r}, expected the folder of a comparison: it has no rows")


def read_settings(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings of each row of a comparison, by its name; empty if there is none yet."""
    paths = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if is_row(path)]
    heads = {path.stem: next(read_lines(path)).row for path in paths}
    return {name: head["settings"] for name, head in heads.items() if head is not None}


def check_one_reward(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse two rewards under one name: their rows would be points of one curve.

    Args:
        rows: the settings of each row of a comparison, by its name.

    Raises:
        InvalidData: two rows of one method have other weights, or other cards; files of older versions have no hashes
            of cards.
    """
    first: dict[str, str] = {}
    for name, settings in rows.items():
        if settings["beta"] is None:  # no point of a curve
            continue
        other = first.setdefault(settings["method"], name)
        known = [field for field in (REWARDS, CARDS) if field in rows[other] and field in settings]
        if any(rows[other][field] != settings[field] for field in known):
            raise InvalidData(
                f"{other!r} and {name!r} were written by two rewards of one name, with other weights or cards; choose "
                "another --out, or move one elsewhere"
            )


def check_rows_only(folder: Path) -> None:
    """Refuse a folder in which a comparison would find files that are no rows.

    Raises:
        InvalidData: a file has the suffix of rows and is none.
    """
    if other := next((path for path in sorted(folder.glob(f"*{SUFFIX}")) if not is_row(path)), None):
        raise InvalidData(
            f"got {str(folder)!r} for a comparison, expected a new folder or an older comparison's; "
            f"{other.name!r} is no file of a row"
        )


def is_row(path: Path) -> bool:
    """Whether a file begins as the file of a row does."""
    if not path.is_file():
        return False
    head = next(read_lines(path), None)
    return head is not None and head.row is not None and not settings_fault(head.row.get("settings"))
