"""Rewards from a teacher: a student regresses the rewards that a trained reward gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from trimtab.checking import checked
from trimtab.data.tables import LabelledText
from trimtab.errors import InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.agreement import TaughtMeasure
from trimtab.training.credit import check_credits, credit_targets
from trimtab.training.distillation import Distillation, TeacherExamples
from trimtab.training.examples import TokenizedTexts, contexts_of, takes_base
from trimtab.training.fit import RunOptions, TrainingTask, fit
from trimtab.training.kept_folder import HELD_OUT
from trimtab.training.labels import check_labels, text_measure
from trimtab.training.new_card import new_card
from trimtab.training.recipe import (
    DistilSettings,
    Recipe,
    check_head_learns,
    check_target_of,
    check_teachers,
)
from trimtab.training.target import Target, side_by_side
from trimtab.training.teacher import folder_of, teacher_rewards
from trimtab.training.teacher_facts import facts_of, shape_of
from trimtab.training.text_teacher import AnyTeacher, as_teacher, read_unchanged
from trimtab.training.trainer import QUICK_HELD_OUT


@takes_base
@checked
def train_from_teacher(
    base: FrozenLM,
    teacher: AnyTeacher | Sequence[AnyTeacher],
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    recipe: Recipe,
    settings: DistilSettings | None = None,
    options: RunOptions | None = None,
    targets: str | Path | None = None,
) -> RewardModel:
    """Train a student on the rewards of a teacher, or of several at once.

    Args:
        base: its layers become the student's trunk, and its most likely tokens are the candidates.
        teacher: a reward, or a teacher of texts such as a classifier; several give the student all their attributes.
            A reward of another tokenizer needs a V-head: it scores the text of every prefix and candidate.
        train: the texts to train on; their labels are not used.
        held_out: the texts to measure on. Labels, if there are any, serve the measure only. The held-out loss is of the
            first 256 texts, to save the teacher's work.
        recipe, settings, options: the settings of the run and of the objective, and its folder.
        targets: the folder that keeps the teacher's rewards for later runs, a folder in it for each of several
            teachers; default: they are not kept.

    Raises:
        InvalidSetting: the student's head cannot learn the target, the teacher returns differences or has another
            tokenizer and no V-head, there are more candidates than tokens, or several teachers do not fit together; or
            texts answer messages, and the teacher reads tokens, or the base has no chat template.
        NonFiniteReward: the teacher gives a reward that is not finite.
        InvalidData, InvalidOutput, CorruptCheckpoint, TrainingDiverged: as in `train_from_labels`; or `targets` holds
            other rewards, or cannot be written; or a teacher scores texts, and no text is the same after it is encoded
            and decoded.
    """
    settings, options = settings or DistilSettings(), options or RunOptions()
    teachers = [as_teacher(each, base) for each in (teacher if isinstance(teacher, Sequence) else [teacher])]
    for each in teachers:
        check_student(base, each, recipe, settings)
    if any(row.message for row in [*train, *held_out]):
        check_reads_texts(teachers)
    attributes, clamp = check_teachers([shape_of(each, base) for each in teachers])
    kept, kept_held_out = (read_unchanged(rows, base, teachers) for rows in (train, held_out))
    texts, measured = (TokenizedTexts(rows, base, recipe.max_tokens) for rows in (kept, kept_held_out))
    if any(example["labels"] for example in measured.examples):
        check_labels(measured, attributes)

    def teacher_examples(part: TokenizedTexts, folder: Path, most: int | None = None) -> TeacherExamples:
        some = part.examples[:most]
        return TeacherExamples(part, _rewards_of_all(teachers, base, some, recipe, settings, options, folder))

    with TemporaryDirectory() as unkept:
        folder = Path(targets or unkept)
        examples = teacher_examples(texts, folder)
        measured_examples = teacher_examples(measured, folder / HELD_OUT, QUICK_HELD_OUT)
    differences = settings.target == "delta"
    clamp = None if differences else clamp
    card = new_card(base, attributes, recipe, baseline=not differences, clamp=clamp)
    objective = Distillation(settings.target, base.pad_token_id, from_zero=settings.credit is not None)
    of_texts = text_measure(base, attributes, measured, recipe.probe_beta, clamp, differences)
    task = TrainingTask(
        objective=objective,
        examples=examples,
        held_out=measured_examples,
        measure=TaughtMeasure(of_texts, objective, settings.target, measured_examples, attributes),
        start_at=_mean_reward(examples.targets),
        facts={
            "texts": len(texts),
            "truncated": texts.truncated,
            "objective": f"distil, {settings.described}",
            **facts_of(teachers, examples.targets, len(train) - len(kept), contexts_of(texts.examples)),
        },
    )
    return fit(base, card, task, recipe, options)


def _rewards_of_all(
    teachers: Sequence[AnyTeacher],
    base: FrozenLM,
    examples: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    settings: DistilSettings,
    options: RunOptions,
    folder: Path,
) -> list[Target]:
    """The rewards of every teacher, side by side. One teacher keeps them in the folder, several in folders in it."""
    texts, contexts = [example["input_ids"] for example in examples], contexts_of(examples)
    if settings.credit is not None:
        credits = [credit_targets(check_credits(t), base, texts, settings.credit_share, recipe.bf16) for t in teachers]
        return [side_by_side(of_text) for of_text in zip(*credits, strict=True)]
    asked = settings.candidates if settings.target == "candidates" else 0
    found: list[list[Target]] = []
    for each in teachers:
        own = folder_of(each, folder, len(teachers) > 1)
        progress, positions = options.progress.teaching, settings.positions if asked else None
        found.append(teacher_rewards(each, base, texts, asked, own, recipe.bf16, progress, positions, contexts))
    return [side_by_side(of_text) for of_text in zip(*found, strict=True)]


def check_reads_texts(teachers: Sequence[AnyTeacher]) -> None:
    """Refuse a teacher of tokens for texts that answer messages: it would read the messages as well.

    Raises:
        InvalidSetting: there is one.
    """
    if reads := next((each for each in teachers if isinstance(each, RewardModel)), None):
        raise InvalidSetting(
            f"got texts that answer messages with the teacher {reads.name!r} of the model's own tokenizer, expected a "
            "teacher of texts, such as a reward of another tokenizer or a classifier"
        )


def check_student(base: FrozenLM, teacher: AnyTeacher, recipe: Recipe, settings: DistilSettings) -> None:
    """Check that a student can learn from a teacher.

    Raises:
        InvalidSetting: as in `train_from_teacher`.
    """
    if isinstance(teacher, RewardModel):
        check_target_of(teacher.name, teacher.card, recipe, settings)
    check_head_learns(recipe, settings)
    if settings.credit is not None:
        check_credits(teacher)
    if settings.candidates > base.vocabulary_size:
        raise InvalidSetting(f"got candidates={settings.candidates}, expected at most {base.vocabulary_size}")


def _mean_reward(targets: Sequence[Target]) -> Float[np.ndarray, " attributes"]:
    rewards = torch.cat([target.observed[target.known] for target in targets])
    return rewards.sum(0).numpy() / max(len(rewards), 1)
