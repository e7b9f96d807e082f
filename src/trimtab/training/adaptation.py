"""A reward for any language model, from a teacher that scores text: texts, the teacher's rewards, a ladder, a card."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trimtab.checking import checked
from trimtab.data.tables import LabelledText
from trimtab.data.visible import count_of
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.registry import teaching_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.adapt_settings import FEWEST_TEXTS, AdaptSettings
from trimtab.training.callbacks import TrainingProgress
from trimtab.training.distil import check_reads_texts, check_student, train_from_teacher
from trimtab.training.estimate import estimate_seconds
from trimtab.training.examples import TokenizedTexts, context_of, takes_base
from trimtab.training.fit import RunOptions
from trimtab.training.kept_folder import TARGETS_FILE, claim
from trimtab.training.own_texts import openings, write_own_texts
from trimtab.training.recipe import Recipe, check_teachers
from trimtab.training.run_folder import ADAPT_FILE, OWN_TEXTS, TARGETS, RunFolder
from trimtab.training.teacher import kept_share
from trimtab.training.teacher_facts import shape_of
from trimtab.training.text_teacher import AnyTeacher, as_teacher, load_teacher

HELD_OUT_SHARE = 10  # one text in ten
OF_TEXTS = ("texts", "tokens", "chat", "seed", "candidates", "positions")  # settings of the texts and of their scores


@takes_base
@checked
def adapt(
    base: FrozenLM,
    teacher: str | AnyTeacher | Sequence[AnyTeacher],
    texts: Sequence[str] | None = None,
    settings: AdaptSettings | None = None,
    options: RunOptions | None = None,
) -> RewardModel:
    """Train a reward for a language model from a teacher of any tokenizer, and measure how well the two agree.

    The student is a ladder over the model's own hidden states, so nothing runs backward through the model.

    Args:
        base: the language model to steer.
        teacher: "toxicity", "sentiment", or a reward with a V-head, by name or loaded; or a teacher of texts, such as a
            classifier; or several that are loaded.
        texts: texts such as the model shall be steered on, at least 4 different ones; default: it writes its own.
        settings: how much is learned.
        options: the run's folder, its listener, the reward's name. An interrupted run resumes from the folder.

    Returns:
        The reward. Its card has the agreement on held-out texts: Spearman's rank correlation with the teacher over
        candidates and over prefixes.

    Raises:
        InvalidData: there are too few texts, the tokenizer gives none of them back, or the folder is another run's.
        InvalidOutput, CorruptCheckpoint, TrainingDiverged: as in `train_from_teacher`.
        InvalidSetting: the teacher has another tokenizer and no V-head, or a text is longer than the model's context;
            or for a chat: the model has no chat template, or the teacher is a reward of its own tokenizer.
        RewardNotFound, CorruptReward: of a teacher's name.
    """
    settings, options = settings or AdaptSettings(), options or RunOptions()
    teachers = [load_teacher(teaching_reward(teacher), base)] if isinstance(teacher, str) else teacher
    several = [as_teacher(each, base) for each in (teachers if isinstance(teachers, Sequence) else [teachers])]
    recipe = settings.recipe(base.layers, base.output_embedding.shape[1], keep_states=options.run is not None)
    if settings.tokens >= base.context_length:
        raise InvalidSetting(f"got tokens={settings.tokens}, expected fewer than the model's {base.context_length}")
    check_teachers([shape_of(each, base) for each in several])
    for each in several:
        check_student(base, each, recipe, settings.distillation)
    if settings.chat:
        check_reads_texts(several)
        context_of(base, openings()[0])
    with options.run.locked() if options.run else contextlib.nullcontext():
        own, targets = texts is None, options.run.path / TARGETS if options.run else None
        _claim(options.run, settings, own)
        estimate = _Estimate(base, several, recipe, settings, options.progress, targets)
        rows = _rows(_own_texts(base, settings, options.run, estimate.writing) if texts is None else texts, settings)
        if len(rows) < FEWEST_TEXTS:
            raise InvalidData(f"got {count_of(len(rows), 'different text')}, expected at least {FEWEST_TEXTS}")
        if not estimate.told and not _was_training(options.run):
            estimate.tell(rows, len(rows))
        return train_from_teacher(base, several, *in_parts(rows, own), recipe, settings.distillation, options, targets)


def in_parts(rows: Sequence[LabelledText], own: bool) -> tuple[list[LabelledText], list[LabelledText]]:
    """The texts to train on, and one in ten to measure on.

    Args:
        rows: the texts.
        own: whether the model wrote them; then those of some openings are held out, so that no held-out text begins
            as one that is trained on.
    """
    share = max(1, len(rows) // HELD_OUT_SHARE)
    apart = tuple(openings()[::HELD_OUT_SHARE])
    held_out = [row for row in rows if row.text.startswith(apart)] if own else []
    if not 0 < len(held_out) < len(rows) // 2:  # few texts, or a tokenizer that changes how they begin
        return list(rows[share:]), list(rows[:share])
    return [row for row in rows if not row.text.startswith(apart)], held_out


def _rows(texts: Sequence[str], settings: AdaptSettings) -> list[LabelledText]:
    """The first different texts: one that is trained on cannot be held out."""
    different = list(dict.fromkeys(texts))[: settings.texts]
    return answering(different) if settings.chat else list(map(LabelledText, different))


def answering(texts: Sequence[str]) -> list[LabelledText]:
    """Texts, every second of them as the answer to one of the openings as a message."""
    messages = openings()
    return [
        LabelledText(text, message=messages[number // 2 % len(messages)] if number % 2 else "")
        for number, text in enumerate(texts)
    ]


def _own_texts(
    base: FrozenLM, settings: AdaptSettings, run: RunFolder | None, progress: Callable[[Sequence[str], int], None]
) -> list[str]:
    folder = run.path / OWN_TEXTS if run else None
    return write_own_texts(base, settings.texts, settings.tokens, settings.seed, folder, progress)


def _claim(run: RunFolder | None, settings: AdaptSettings, own: bool) -> None:
    """Refuse, before texts are written, a folder in which other texts are scored, or with another number of scores.

    Until there are scores the settings may change. A folder that was begun before they were recorded is left to the
    record of the scores.

    Raises:
        InvalidData: it is such a folder.
    """
    if run is None:
        return
    record, targets = run.path / ADAPT_FILE, run.path / TARGETS
    scored = any(targets.rglob("*.safetensors"))
    if not scored:
        record.unlink(missing_ok=True)
        for of_scores in list(
            targets.rglob(TARGETS_FILE)
        ):  # records of scores that never came; what else is there stays
            of_scores.unlink()
            with contextlib.suppress(OSError):
                of_scores.parent.rmdir()
    if record.exists() or not scored:
        about = {"own_texts": own, **{name: getattr(settings, name) for name in OF_TEXTS}}
        claim(record, about, "a run", ours=lambda path: True)


def _was_training(run: RunFolder | None) -> bool:
    """Whether an earlier process of the run came as far as the training."""
    return run is not None and (run.checkpoints.exists() or run.final.exists())


class _Estimate:
    """Tells a listener how long a run will take, by the time of the first own texts and of a few texts of the rest.

    Attributes:
        told: whether it did.
    """

    def __init__(
        self,
        base: FrozenLM,
        teachers: Sequence[AnyTeacher],
        recipe: Recipe,
        settings: AdaptSettings,
        progress: TrainingProgress,
        targets: Path | None,
    ):
        self._base, self._teachers, self._recipe, self._settings = base, teachers, recipe, settings
        self._progress, self._targets, self._start, self._first = progress, targets, 0.0, 0
        self.told = False

    def writing(self, texts: Sequence[str], total: int) -> None:
        """Report texts, and behind the first batch the seconds of the whole run."""
        if not self._start:
            self._start, self._first = time.perf_counter(), len(texts)
        elif not self.told:
            each = (time.perf_counter() - self._start) / (len(texts) - self._first)
            self.tell(_rows(texts, self._settings), total, {"own texts": each * (total - self._first)})
        self._progress.writing(len(texts), total)

    def tell(self, rows: Sequence[LabelledText], count: int, before: Mapping[str, float] | None = None) -> None:
        """Report the seconds of the teachers, of the training and of the measuring.

        Args:
            rows: the texts that are there.
            count: how many there will be.
            before: the seconds of earlier stages.
        """
        examples = TokenizedTexts(rows, self._base, self._settings.tokens).examples
        held_out, learn = max(1, count // HELD_OUT_SHARE), self._settings.distillation
        found = estimate_seconds(self._base, self._teachers, examples, self._recipe, learn, count, held_out)
        if self._targets:
            found["teacher"] *= 1 - kept_share(self._teachers, self._targets, count - held_out)
        self._progress.estimated({**(before or {}), **found})
        self.told = True
