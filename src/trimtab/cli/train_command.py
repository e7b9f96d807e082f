"""Steps that the commands of `trimtab train` share: report the data, load the model, save the reward."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from trimtab.errors import InvalidData, InvalidSetting

if TYPE_CHECKING:
    from trimtab.data.tables import Row, Table
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.training.fit import RunOptions
    from trimtab.training.recipe import Recipe, Source

SHOWN_FAULTS = 5
HELD_OUT_SHARE = 20  # one row in 20


@final
class TrainCommand:
    """Steps that the three commands share.

    Args:
        out: folder for the reward.
        run: folder for settings, metrics and checkpoints; None for OUT.run.
        source: tables to read.
        recipe: training settings.

    Raises:
        InvalidSetting: the run folder is inside the reward's folder.
        InvalidData: `out` holds something other than a reward.
    """

    def __init__(self, out: Path, run: Path | None, source: "Source", recipe: "Recipe"):
        from rich.console import Console

        from trimtab.rewards.folder import check_target

        check_target(out)
        self.out, self.run = out, run or out.with_name(out.name + ".run")
        if self.run.resolve().is_relative_to(out.resolve()):
            raise InvalidSetting(f"got --run {str(self.run)!r}, expected a folder outside --out {str(out)!r}")
        self.source, self.recipe = source, recipe
        self.console: Console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")
        self.facts: dict[str, Any] = {}

    def report_faults(self, table: "Table[Row]", name: str) -> "Table[Row]":
        """Print which rows of a table are skipped, and return the table."""
        from rich.text import Text

        if table.faults:
            named = "; ".join(table.faults[:SHOWN_FAULTS]) + ("; …" if len(table.faults) > SHOWN_FAULTS else "")
            self.console.print(Text.assemble((f"{name}: {len(table.faults)} rows skipped", "yellow"), f": {named}"))
            self.facts[f"skipped in {Path(name).name}"] = len(table.faults)
        return table

    def split_rows(self, rows: "Sequence[Row]", held: "Table[Row] | None") -> "tuple[Sequence[Row], Sequence[Row]]":
        """Return the rows to train on and the held-out rows: those of --held-out, or one row in 20."""
        if held is not None:
            return rows, self.report_faults(held, str(self.source.held_out)).rows[: self.source.held_out_limit]
        if len(rows) < 2:
            raise InvalidData("got 1 row, expected at least 2, because one is held out")
        share = max(1, len(rows) // HELD_OUT_SHARE)
        return rows[share:], rows[:share]

    def load_model(self, base: str) -> "FrozenLM":
        """Load the language model in the number format of training."""
        import torch

        from trimtab.models.loading import load_frozen_lm

        return load_frozen_lm(base, dtype=torch.bfloat16 if self.recipe.bf16 else torch.float32)

    def show_summary(self, texts: "Sequence[str]", lm: "FrozenLM", labels: "dict[str, Sequence[float]]") -> None:
        """Print lengths, class balance and a sample before training starts."""
        from trimtab.training.summary import summarize

        summary = summarize(texts, lm, self.recipe.max_tokens, labels)
        self.facts |= summary.facts
        self.console.print(summary.table)

    def make_run_options(self) -> "RunOptions":
        """Return the folder, the progress bars and the provenance of the run."""
        from trimtab.cli.progress import Bars
        from trimtab.training.fit import RunOptions
        from trimtab.training.run_folder import RunFolder

        command = shlex.join(["trimtab", *(Path(a).name if Path(a).exists() else a for a in sys.argv[1:])])
        held = Path(self.source.held_out).name if self.source.held_out else "5 % of the data"
        provenance = {"data": Path(self.source.data).name, "held_out": held, "command": command, **self.facts}
        return RunOptions(RunFolder(self.run), Bars(self.console), self.out.name, provenance)

    def save_reward(self, reward: "RewardModel", dtype: str) -> None:
        """Save the reward and print its quality, in the first process only."""
        import torch

        from trimtab.training.distributed import processes

        if not processes().is_main_process:
            return
        reward.save_pretrained(self.out, getattr(torch, dtype))
        self.console.print(f"saved {self.out}; settings, metrics and checkpoints are in {self.run}", highlight=False)
        for name, value in reward.card.quality.items():
            if isinstance(value, float | int):
                self.console.print(f"  {name} {value:.4f}" if isinstance(value, float) else f"  {name} {value}")
