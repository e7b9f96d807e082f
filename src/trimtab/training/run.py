"""The folder of a training run: its settings, its metrics as they come, and the checkpoints from which it goes on."""

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from trimtab.errors import CorruptCheckpoint, InvalidData
from trimtab.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.rewards.folder import WEIGHTS_FILE

SETTINGS_FILE = "settings.json"
METRICS_FILE = "metrics.jsonl"
FINAL_FILE = "final.safetensors"
CHECKPOINTS = "checkpoints"
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

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Write the resolved settings into a new folder; refuse one that other settings wrote.

        Raises:
            InvalidData: the folder is another run's, or something else.
        """
        text = json.dumps(settings, indent=2, ensure_ascii=False, default=str) + "\n"
        record = self.path / SETTINGS_FILE
        if record.is_file():
            if differing := _differing(record, json.loads(text)):
                raise InvalidData(
                    f"{str(self.path)!r} holds a run with another {differing}; remove it, or choose another --run"
                )
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InvalidData(f"got {str(self.path)!r} for a run, expected a new or empty folder, or an earlier run's")
        self.path.mkdir(parents=True, exist_ok=True)
        record.write_text(text, encoding="utf-8")

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
        kept = [line.row for line in read_lines(self.metrics) if line.row and line.row["step"] <= step]
        partial = self.metrics.with_suffix(".kept")
        partial.unlink(missing_ok=True)
        append_rows(partial, kept)
        partial.replace(self.metrics)


def check_checkpoint(folder: Path) -> None:
    """Open every file of a checkpoint.

    Raises:
        CorruptCheckpoint: one is missing or damaged.
    """
    try:
        load_file(folder / WEIGHTS_FILE)
        for name in ("optimizer.pt", "scheduler.pt"):
            torch.load(folder / name, weights_only=True)
        json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptCheckpoint(
            f"cannot read the checkpoint {str(folder)!r} ({reason}); remove it to go on from the one before"
        ) from error


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _differing(record: Path, settings: dict[str, Any]) -> str | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder or choose another --run") from error
    names = [name for name in {**found, **settings} if found.get(name) != settings.get(name)]
    return ", ".join(names) or None
