"""Steps that the commands of `trimtab train` share: check the settings, load the model, save."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from trimtab.cli.console import error_console, loading, resumable
from trimtab.cli.train_checks import check_base, check_folders
from trimtab.cli.train_rows import TrainRows
from trimtab.data.visible import legible
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.card import RewardCard
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.training.fit import RunOptions
    from trimtab.training.recipe import DistilSettings, Recipe, Source


@final
class TrainCommand:
    """Steps that the three commands share. It holds the run folder until the command ends.

    Args:
        out: folder for the reward.
        run: folder for settings, metrics and checkpoints; None for OUT.run.
        source: tables to read.
        recipe: training settings.
        base: name of the language model.
        targets: folder for a teacher's rewards; None for one inside the run folder.

    Attributes:
        rows: divides the rows, and collects facts for the card.

    Raises:
        InvalidSetting: the folders are inside each other, or the recipe does not fit the base.
        InvalidOutput: a folder cannot be written.
        InvalidData: a folder holds other files, or another process trains in the run folder.
        ModelNotFound: there is no such base.
        RewardNotFound, CorruptReward: the reward to start from cannot be read.
    """

    def __init__(
        self, out: Path, run: Path | None, source: "Source", recipe: "Recipe", base: str, targets: Path | None = None
    ):
        from trimtab.rewards.card import read_card
        from trimtab.rewards.registry import check_reward, find_reward
        from trimtab.rewards.target import check_target
        from trimtab.training.run_folder import TARGETS, RunFolder

        check_target(out)
        self.out, self.run = out, run or out.with_name(out.name + ".run")
        self.targets = targets or self.run / TARGETS
        check_folders(self.out, self.run, self.targets)
        self.folder = RunFolder(self.run)
        self.is_first = os.environ.get("RANK", "0") == "0"
        if self.is_first:  # the others would be in its way
            self.folder.check()
        self.recipe, self.base = recipe, base
        self.rows = TrainRows(source, self.console)
        self._held = ExitStack()
        if recipe.start is not None:
            read_card(find_reward(recipe.start))
        self.codec = check_base(base, recipe)
        if recipe.start is not None:
            check_reward(recipe.start)  # its weights, too

    def __enter__(self) -> "TrainCommand":
        return self

    def __exit__(self, *error: Any) -> None:
        self._held.__exit__(*error)

    @property
    def console(self) -> "Console":
        """The stderr console; silent in all processes but the first."""
        return error_console(quiet=not self.is_first)

    def check_teacher(self, name: str, card: "RewardCard", settings: "DistilSettings") -> None:
        """Check that the base has the teacher's tokenizer, or the teacher a V-head; and as many tokens as candidates.

        Raises:
            InvalidSetting: it has not.
            RewardMismatch: the teacher has another tokenizer, and its card does not say where its base is.
            CorruptReward: the teacher's weights are damaged.
        """
        from trimtab.rewards.registry import base_of, check_reward

        if card.tokenizer_fingerprint != self.codec.fingerprint:
            card.check_scores_texts(name)
            base_of(name)
        if settings.candidates > len(self.codec.tokenizer):
            raise InvalidSetting(f"got candidates={settings.candidates}, expected at most {len(self.codec.tokenizer)}")
        check_reward(name)

    def load_model(self) -> "FrozenLM":
        """Hold the run folder, and load the language model in the number format of training."""
        import torch

        from trimtab.models.loading import load_frozen_lm
        from trimtab.training.distributed import processes

        processes()  # each process loads the model on its own GPU
        if self.is_first:
            self._held.enter_context(resumable())
            self._held.enter_context(self.folder.locked())
        with loading(self.base):
            dtype = torch.bfloat16 if self.recipe.bf16 else torch.float32
            return load_frozen_lm(self.base, dtype=dtype, codec=self.codec)

    def show_summary(self, texts: "Sequence[str]", lm: "FrozenLM", labels: "Mapping[str, Sequence[float]]") -> None:
        """Print lengths, class balance and a sample before training starts."""
        from trimtab.training.summary import summarize

        summary = summarize(texts, lm, self.recipe.max_tokens, labels)
        self.rows.note(**{name: fact for name, fact in summary.facts.items() if name != "warning"})
        self.console.print(summary.table)
        if warning := summary.facts.get("warning"):
            self.rows.warn(warning)

    def make_run_options(self) -> "RunOptions":
        """Return the folder, the progress bars and the provenance of the run."""
        from trimtab.cli.progress import Bars
        from trimtab.training.fit import RunOptions

        bars = self._held.enter_context(closing(Bars(self.console)))
        return RunOptions(self.folder, bars, self.out.name, self.rows.provenance())

    def save_reward(self, reward: "RewardModel", dtype: str) -> None:
        """Save the reward and print its quality, in the first process only."""
        import torch
        from rich.text import Text

        from trimtab.training.distributed import processes
        from trimtab.training.saving import saving

        if not processes().is_main_process:
            return
        with saving(self.out, "the reward"):
            reward.save_pretrained(self.out, getattr(torch, dtype))
        place = legible(f"saved {self.out}; settings, metrics and checkpoints are in {self.run}", keep="")
        self.console.print(Text(place))
        if warning := reward.card.quality.get("warning"):
            self.console.print(Text(legible(f"warning: {warning}", keep=""), "yellow"))
        for name, value in reward.card.quality.items():
            if isinstance(value, float | int):
                shown = f"{value:.4f}" if isinstance(value, float) else str(value)
                self.console.print(Text(f"  {legible(name, keep='')} {shown}"))
