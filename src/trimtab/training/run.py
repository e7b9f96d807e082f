"""The folder of a training run: its settings, its metrics as they come, and the checkpoints from which it goes on."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError
from safetensors.torch import load_file

from trimtab.errors import CorruptCheckpoint, InvalidData
from trimtab.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.rewards.folder import WEIGHTS_FILE

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
FINAL_FILE = "final.safetensors"
CHECKPOINTS = "checkpoints"
OURS = {SETTINGS_FILE, METRICS_FILE, FINAL_FILE, CHECKPOINTS, "targets"}
STATE_FILE = "trainer_state.json"  # what transformers writes last


@final
class RunFolder:
    """A place for one run; the same settings find their way back to it.

    Args:
        path: the folder; made when it is claimed.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Where transformers' Trainer puts its checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def metrics(self) -> Path:
        """One JSON object for each logging step and each measurement."""
        return self.path / METRICS_FILE

    @property
    def final(self) -> Path:
        """The weights of a finished run."""
        return self.path / FINAL_FILE

    def claim(self, settings: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
        """Write the resolved settings into a new folder; refuse one that a run with other settings has worked in.

        Args:
            settings: what decides the run's result.
            about: recorded beside them, not compared.

        Raises:
            InvalidData: the folder is another run's, or something else.
        """
        record = self.path / SETTINGS_FILE
        wanted = json.loads(json.dumps(settings, default=str))
        begun = self.final.exists() or self.metrics.exists() or self.checkpoints.exists()
        if record.is_file() and begun and (differing := _differing(record, wanted)):
            raise InvalidData(
                f"{str(self.path)!r} holds a run with other settings ({differing}); remove it, or choose another --run"
            )
        if self.path.exists() and (not self.path.is_dir() or {path.name for path in self.path.iterdir()} - OURS):
            raise InvalidData(f"got {str(self.path)!r} for a run, expected a new or empty folder, or an earlier run's")
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**wanted, "about": about or {}}, indent=2, ensure_ascii=False, default=str)
        partial = record.with_suffix(".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(record)

    def log(self, row: Mapping[str, Any]) -> None:
        """Append to the metrics."""
        append_rows(self.metrics, [dict(row)])

    def resume(self) -> Path | None:
        """The newest whole checkpoint, with the metrics cut back to its step; None for a run that has none.

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
    """Read every file of a checkpoint through to its end; pickles are checked by their archive's sums, not opened.

    Raises:
        CorruptCheckpoint: one is missing or damaged.
    """
    try:
        load_file(folder / WEIGHTS_FILE)
        for path in (folder / "optimizer.pt", folder / "scheduler.pt", *folder.glob("rng_state*.pth")):
            _check_archive(path)
        json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["global_step"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptCheckpoint(
            f"cannot read the checkpoint {str(folder)!r} ({reason}); remove it to go on from the one before"
        ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{path.name}: {damaged} is damaged")


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _differing(record: Path, settings: dict[str, Any]) -> str | None:
    """Which settings differ, as "name: there, here"; None if none do."""
    try:
        kept = _flat(json.loads(record.read_text(encoding="utf-8")))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder or choose another --run") from error
    wanted = _flat(settings)
    names = [n for n in {**kept, **wanted} if kept.get(n) != wanted.get(n) and not n.startswith("about")]
    return "; ".join(f"{name}: {kept.get(name)} there, {wanted.get(name)} here" for name in names) or None


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat
