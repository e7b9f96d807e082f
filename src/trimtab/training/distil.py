"""Rewards from a teacher: a student regresses what a trained reward says, of tokens that came or might have come."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from trimtab.errors import InvalidSetting
from trimtab.frozen.lm import FrozenLM, PromptBatch
from trimtab.rewards.model import RewardModel
from trimtab.rewards.network import PrefixRewards
from trimtab.training.data import Examples, LabelledText, TokenizedTexts
from trimtab.training.fit import Fit, Lesson, fit, new_card
from trimtab.training.labels import text_measure
from trimtab.training.objectives import Loss, squared_error
from trimtab.training.recipe import DistilSettings, DistilTarget, Recipe
from trimtab.training.teacher import HELD_OUT, Target, fingerprint, teach
from trimtab.training.trainer import QUICK_HELD_OUT, Batch


@final
class TaughtTexts(Examples):
    """Tokenized texts, as many as there are teacher's rewards for."""

    def __init__(self, texts: TokenizedTexts, targets: Sequence[Target]):
        self.texts, self.targets = texts, targets

    @property
    def digest(self) -> str:
        """A hash of the texts; the teacher has its own."""
        return self.texts.digest

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.texts[index], "target": self.targets[index]}


@final
class Distillation:
    """A teacher's rewards as the target of every token.

    orig: r̂(x_t | x_<t) → r(x_≤t). delta: → r(x_≤t) − r(x_<t), from the second token on (2407.04615). candidates, ours:
    as orig, and the base's k most likely tokens in each place with it, averaged over the k + 1.

    Args:
        target: which.
        pad_token_id: fills batches.
    """

    def __init__(self, target: DistilTarget, pad_token_id: int):
        self.target = target
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids, mask and targets, all left-padded."""
        batch = PromptBatch.pad([example["input_ids"] for example in examples], self.pad_token_id, torch.device("cpu"))
        targets = [example["target"] for example in examples]
        padded = {"ids": batch.ids, "mask": batch.mask, "observed": _pad([t.observed for t in targets])}
        if self.target == "candidates":
            padded["candidates"] = _pad([target.candidates for target in targets]).long()
            padded["rewards"] = _pad([target.rewards for target in targets])
        return padded

    def loss(self, scored: PrefixRewards, head: nn.Module, batch: Batch) -> Loss:
        """The squared error to the teacher."""
        observed = batch["observed"]
        if self.target == "orig":
            return squared_error(scored.values, observed, scored.known)
        second_on = scored.known & scored.known.roll(1, dims=1)
        second_on[:, 0] = False
        if self.target == "delta":
            return squared_error(scored.values, observed - observed.roll(1, dims=1), second_on)
        rewards = torch.cat([scored.values[:, :, None], head(scored.before, batch["candidates"])], dim=2)
        return squared_error(rewards, torch.cat([observed[:, :, None], batch["rewards"]], dim=2), second_on)


def train_from_teacher(
    base: FrozenLM,
    teacher: RewardModel,
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    recipe: Recipe,
    settings: DistilSettings | None = None,
    options: Fit | None = None,
    targets: Path | None = None,
) -> RewardModel:
    """Train a student on a teacher's rewards.

    Args:
        base: whose layers become the student's trunk, and whose most likely tokens the teacher is asked about.
        teacher: a reward for the same tokenizer.
        train, held_out: texts; labels of the held-out ones, if there are any, are only measured against. The held-out
            loss is of the first 256, so that no teacher is asked about thousands.
        recipe, settings, options: how.
        targets: the folder that keeps the teacher's rewards of `train`, and in `held-out` of the others; default: none.

    Raises:
        RewardMismatch: the teacher's tokenizer is not the base's.
        InvalidSetting: `delta` or `candidates` with a V-head student, which has no rewards of tokens yet to come; or a
            teacher of differences, or more candidates than tokens.
        InvalidData, CorruptCheckpoint: as in `train_from_labels`; or `targets` holds other rewards.
    """
    settings, options = settings or DistilSettings(), options or Fit()
    if not teacher.card.baseline:
        raise InvalidSetting(f"got the teacher {teacher.name!r} of differences, expected one of rewards")
    if settings.candidates > base.vocabulary_size:
        raise InvalidSetting(f"got candidates={settings.candidates}, expected at most {base.vocabulary_size}")
    if recipe.head == "v" and settings.target != "orig":
        raise InvalidSetting(f"got target={settings.target!r} with a V-head student, expected 'orig' or a Q-head")
    teacher.check_serves(base.tokenizer_fingerprint)
    texts, measured = (TokenizedTexts(rows, base, recipe.max_tokens) for rows in (train, held_out))
    asked = settings.candidates if settings.target == "candidates" else 0
    with TemporaryDirectory() as unkept:
        folder = targets or Path(unkept)
        lessons = []
        for part, place in ((texts, folder), (measured, folder / HELD_OUT)):
            ids = [example["input_ids"] for example in part.examples]
            ids = ids if part is texts else ids[:QUICK_HELD_OUT]
            taught = teach(teacher, base, ids, asked, place, recipe.bf16, options.report.teaching)
            lessons.append(TaughtTexts(part, taught))
    differences = settings.target == "delta"
    clamp = None if differences else teacher.card.clamp
    card = new_card(base, teacher.attributes, recipe, baseline=not differences, clamp=clamp)
    lesson = Lesson(
        objective=Distillation(settings.target, base.pad_token_id),
        examples=lessons[0],
        held_out=lessons[1],
        measure=text_measure(base, teacher.attributes, measured, recipe.probe_beta, clamp, differences),
        start_at=np.mean(torch.cat([target.observed for target in lessons[0].targets]).numpy(), axis=0),
        facts={
            "texts": len(texts),
            "truncated": texts.truncated,
            "objective": f"distil, {settings.target}" + (f" of {asked}" if asked else ""),
            "teacher": teacher.name,
            "teacher_fingerprint": fingerprint(teacher),
        },
    )
    return fit(base, card, lesson, recipe, options)


def _pad(parts: Sequence[Tensor]) -> Tensor:
    """Left-pad along the first axis and stack."""
    width = max(len(part) for part in parts)
    return torch.stack([torch.cat([part.new_zeros((width - len(part), *part.shape[1:])), part]) for part in parts])
