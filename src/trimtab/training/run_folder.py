"""The folder of a training run: its settings, its metrics, and the checkpoints from which it resumes."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import final

from safetensors import SafetensorError
from safetensors.torch import load_file

from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.errors import CorruptCheckpoint, InvalidData
from trimtab.rewards.folder import WEIGHTS_FILE

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
FINAL_FILE = "final.safetensors"
CHECKPOINTS = "checkpoints"
OURS = {SETTINGS_FILE, METRICS_FILE, FINAL_FILE, CHECKPOINTS, "targets"}
STATE_FILE = "trainer_state.json"  # transformers writes this file last


@final
class RunFolder:
    """The folder of one run. A run with the same settings resumes in it.

    Args:
        path: the folder; `claim` makes it.
    """

    def __init__(self, path: Path):
        self.path = path

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

    def claim(self, settings: Mapping[str, object], about: Mapping[str, object] | None = None) -> None:
        """Write the resolved settings into the folder, and refuse the folder of a run with other settings.

        Args:
            settings: everything that the run's result depends on.
            about: recorded beside the settings, but not compared.

        Raises:
            InvalidData: the folder belongs to another run, or holds other files.
        """
        record = self.path / SETTINGS_FILE
        wanted = json.loads(json.dumps(settings, default=str))
        started = self.final.exists() or self.metrics.exists() or self.checkpoints.exists()
        if record.is_file() and started and (differing := _differing(record, wanted)):
            raise InvalidData(
                f"{str(self.path)!r} holds a run with other settings ({differing}); remove it, or choose another folder"
            )
        if self.path.exists() and (not self.path.is_dir() or {path.name for path in self.path.iterdir()} - OURS):
            raise InvalidData(
                f"got {str(self.path)!r} for a run, expected a new or empty folder, or the folder of an earlier run"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**wanted, "about": about or {}}, indent=2, ensure_ascii=False, default=str)
        partial = record.with_suffix(".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(record)

    def log(self, row: Mapping[str, object]) -> None:
        """Append a row to the metrics."""
        append_rows(self.metrics, [dict(row)])

    def resume(self) -> Path | None:
        """The newest whole checkpoint; None if there is none. Metrics of later steps are removed.

        Raises:
            CorruptCheckpoint: one of its files is damaged.
        """
        newest = max(self._whole_checkpoints(), key=_step, default=None)
        if newest is not None:
            check_checkpoint(newest)
        self._cut_metrics(0 if newest is None else _step(newest))
        return newest

    def _whole_checkpoints(self) -> list[Path]:
        found = list(self.checkpoints.glob("checkpoint-*"))
        for torn in (folder for folder in found if not (folder / STATE_FILE).is_file()):
            shutil.rmtree(torn)  # its save was interrupted
        return [folder for folder in found if folder.exists()]

    def _cut_metrics(self, step: int) -> None:
        if not self.metrics.exists():
            return
        drop_torn_line(self.metrics)
        kept = [line.row for line in read_lines(self.metrics) if line.row and line.row.get("step", step + 1) <= step]
        partial = self.metrics.with_suffix(".kept")
        partial.unlink(missing_ok=True)
        append_rows(partial, kept)
        partial.replace(self.metrics)


def check_checkpoint(folder: Path) -> None:
    """Read every file of a checkpoint. Pickles are checked by the sums of their archive; they are not loaded.

    Raises:
        CorruptCheckpoint: a file is missing or damaged.
    """
    try:
        load_file(folder / WEIGHTS_FILE)
        for path in (folder / "optimizer.pt", folder / "scheduler.pt", *folder.glob("rng_state*.pth")):
            _check_archive(path)
        json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["global_step"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptCheckpoint(
            f"cannot read the checkpoint {str(folder)!r} ({reason}); remove it to resume from the one before"
        ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{path.name}: {damaged} is damaged")


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _differing(record: Path, settings: dict[str, object]) -> str | None:
    """The settings that differ, as "name: OLD there, NEW here"; None if none differ."""
    try:
        kept = _flat(json.loads(record.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder or choose another") from error
    wanted = _flat(settings)
    names = [n for n in {**kept, **wanted} if kept.get(n) != wanted.get(n) and not n.startswith("about")]
    return "; ".join(f"{name}: {kept.get(name)} there, {wanted.get(name)} here" for name in names) or None


def _flat(settings: dict[str, object], before: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat
