"""The folder of a training run: its settings, its metrics, and the checkpoints from which it resumes."""

import contextlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, final

from filelock import FileLock, Timeout

from trimtab.checking import checked, shown
from trimtab.data.differences import differences
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.data.outputs import check_folder, write_whole
from trimtab.errors import CorruptCheckpoint, CorruptReward, InvalidData, InvalidOutput
from trimtab.rewards.card import WEIGHTS_FILE
from trimtab.training.saving import saving

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
FINAL_FILE = "final.safetensors"
CHECKPOINTS = "checkpoints"
LOCK_FILE = ".lock"
TARGETS = "targets"  # of a teacher
KEPT_STATES = "states"  # of a ladder's texts
OWN_TEXTS = "texts"  # of the language model itself
ADAPT_FILE = "adapt.json"  # the settings of the texts and of their scores
UNFINISHED = (".partial", ".kept")  # what a killed process may leave
OURS = {SETTINGS_FILE, METRICS_FILE, FINAL_FILE, CHECKPOINTS, TARGETS, KEPT_STATES, OWN_TEXTS, ADAPT_FILE}
STATE_FILE = "trainer_state.json"  # transformers writes this file last


@final
@checked
class RunFolder:
    """The folder of one run. A run with the same settings resumes in it.

    Args:
        path: the folder; `claim` makes it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = FileLock(self.path / LOCK_FILE)

    @property
    def checkpoints(self) -> Path:
        """The folder of the Trainer's checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def metrics(self) -> Path:
        """One JSON object for each logging step and each measurement."""
        return self.path / METRICS_FILE

    @property
    def final(self) -> Path:
        """The weights of a finished run."""
        return self.path / FINAL_FILE

    def check(self) -> None:
        """Check, before any work, that a run can be kept in the folder.

        Raises:
            InvalidOutput: it is a file, or it cannot be written.
            InvalidData: it holds other files, or another process trains in it.
        """
        self._check_files()
        if (self.path / LOCK_FILE).exists():
            with self.locked():
                pass

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, which is made if need be; if it stays empty, it is removed again.

        Raises:
            InvalidData, InvalidOutput: as in `check`.
        """
        self._check_files()
        is_new = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise InvalidData(
                f"another process trains in {str(self.path)!r}; wait until it ends, or choose another --run"
            ) from error
        try:
            yield
        finally:
            if is_new and {path.name for path in self.path.iterdir()} == {LOCK_FILE}:
                shutil.rmtree(self.path, ignore_errors=True)
            self._lock.release()

    def claim(self, settings: Mapping[str, object], about: Mapping[str, object] | None = None) -> None:
        """Write the resolved settings into the folder, and refuse the folder of a run with other settings.

        Args:
            settings: everything that the run's result depends on.
            about: recorded beside the settings, but not compared.

        Raises:
            InvalidData: the folder belongs to another run, or holds other files.
        """
        record = self.path / SETTINGS_FILE
        wanted = parse_json(dump_json(settings))
        started = self.final.exists() or self.metrics.exists() or self.checkpoints.exists()
        if record.is_file() and started and (differing := _differing(record, wanted)):
            raise InvalidData(
                f"{str(self.path)!r} holds a run with other settings ({differing}); remove it, or choose another folder"
            )
        self._check_files()
        with saving(self.path, "the settings"):
            write_whole(record, dump_json({**wanted, "about": about or {}}, indent=2) + "\n")

    def _check_files(self) -> None:
        check_named_folder(self.path, "--run")
        if self.path.exists() and any(not _is_ours(path.name) for path in self.path.iterdir()):
            raise InvalidData(
                f"got {str(self.path)!r} for a run, expected a new or empty folder, or the folder of an earlier run"
            )

    def log(self, row: Mapping[str, object]) -> None:
        """Append a row to the metrics."""
        append_rows(self.metrics, [dict(row)])

    def resume(self, alone: bool = True) -> Path | None:
        """The newest whole checkpoint; None if there is none. Metrics of later steps are removed.

        Args:
            alone: False in a process beside the first one, which leaves the metrics to it.

        Raises:
            CorruptCheckpoint: one of its files is damaged.
        """
        newest = max(self._whole_checkpoints(), key=_step, default=None)
        if newest is not None:
            check_checkpoint(newest)
        if alone:
            self._cut_metrics(0 if newest is None else _step(newest))
        return newest

    def keep_final(self, tensors: "Mapping[str, Tensor]") -> None:
        """Keep the weights of a finished run, whole or not at all.

        Raises:
            TrainingDiverged: a weight is not finite.
            InvalidOutput: the folder cannot be written.
        """
        from trimtab.rewards.weights import save_sealed  # here, because folders are checked before slow imports

        partial = self.final.with_suffix(".partial")
        try:
            with saving(self.path, "the trained weights"):
                save_sealed(tensors, partial)
                partial.replace(self.final)
        finally:
            partial.unlink(missing_ok=True)

    def _whole_checkpoints(self) -> list[Path]:
        found = list(self.checkpoints.glob("checkpoint-*"))
        for torn in (folder for folder in found if not (folder / STATE_FILE).is_file()):
            shutil.rmtree(torn)  # its save was interrupted
        return [folder for folder in found if folder.exists()]

    def _cut_metrics(self, step: int) -> None:
        if not self.metrics.exists():
            return
        drop_torn_line(self.metrics)
        rows = [line.row for line in read_lines(self.metrics) if line.row is not None]
        kept = [row for row in rows if row.get("step", step + 1) <= step and not row.get("final")]
        partial = self.metrics.with_suffix(".kept")
        partial.unlink(missing_ok=True)
        append_rows(partial, kept)
        partial.replace(self.metrics)


def check_checkpoint(folder: Path) -> None:
    """Read every file of a checkpoint.

    Weights are checked by their hash, pickles by the sums of their archive alone, the Trainer's state by its step.

    Raises:
        CorruptCheckpoint: a file is missing or damaged.
    """
    from transformers import TrainerState  # here, because folders are checked before slow imports

    from trimtab.rewards.weights import read_sealed

    try:
        read_sealed(folder / WEIGHTS_FILE)
        for path in (folder / "optimizer.pt", folder / "scheduler.pt", *folder.glob("rng_state*.pth")):
            _check_archive(path)
        state = TrainerState.load_from_json(
            str(folder / STATE_FILE)
        )  # its JSON may hold an infinite norm of a gradient
        if state.global_step != _step(folder):
            raise ValueError(f"its {STATE_FILE} is of step {shown(state.global_step)}")
    except (OSError, CorruptReward, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise CorruptCheckpoint(
            f"cannot read the checkpoint {str(folder)!r} ({reason_of(error)}); remove it to resume from the one before"
        ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{path.name}: {damaged} is damaged")


def check_named_folder(path: Path, option: str) -> None:
    """Check a folder as `check_folder` does, and that its path ends in a name.

    Raises:
        InvalidOutput: it has none, it is a file or a device, or it may not be written.
    """
    if not path.name:
        raise InvalidOutput(f"got {option} {shown_path(path)}, expected a folder with a name, such as rewards/mine")
    check_folder(path, option)


def _is_ours(name: str) -> bool:
    return name in OURS or name == LOCK_FILE or name.startswith(f".{SETTINGS_FILE}") or name.endswith(UNFINISHED)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _differing(record: Path, settings: dict[str, object]) -> str:
    """The settings that differ, as "name: there, here"; empty if none differ."""
    try:
        kept = parse_json(record.read_text(encoding="utf-8"))
        if not isinstance(kept, dict):
            raise InvalidData(f"got {type(kept).__name__}, expected an object")
    except (InvalidData, ValueError) as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder or choose another") from error
    return differences(kept, settings, ignored=["about"])
