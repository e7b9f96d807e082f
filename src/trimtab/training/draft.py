"""Train a draft head: the model's own texts, what it makes of them, a head, a card."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, final

import torch
from transformers import set_seed

from trimtab.checking import checked
from trimtab.drafts.card import DraftCard
from trimtab.drafts.draft_model import DraftModel, build_head
from trimtab.errors import CorruptCheckpoint, CorruptReward, InvalidData, InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.taps import even_taps
from trimtab.training.callbacks import Recorder
from trimtab.training.draft_objective import DraftTask
from trimtab.training.draft_reads import KeptReads, padded
from trimtab.training.draft_settings import DraftSettings
from trimtab.training.draft_texts import OwnTexts
from trimtab.training.draft_trainer import DraftTrainer
from trimtab.training.examples import takes_base
from trimtab.training.facts import machine
from trimtab.training.fit import RunOptions
from trimtab.training.run_folder import KEPT_STATES, OWN_TEXTS, RunFolder
from trimtab.versions import versions

HELD_OUT_SHARE = 20  # one text in twenty
MOST_HELD_OUT = 64
FEWEST_TEXTS = 20
SCALE_TEXTS = 32  # to which the scale of the states is fitted
Ids = Sequence[int]


@takes_base
@checked
def train_draft(
    base: FrozenLM,
    prompts: Sequence[Ids],
    texts: Sequence[Ids] = (),
    settings: DraftSettings | None = None,
    options: RunOptions | None = None,
) -> DraftModel:
    """Train a draft head for a language model, and measure how often it is right on held-out texts.

    Args:
        base: the language model.
        prompts: token ids that it continues; the head learns from what it writes.
        texts: token ids that the head learns from as they stand.
        settings: the head's size, and how it learns.
        options: the run's folder, which is needed; its listener; the head's name. An interrupted run resumes.

    Returns:
        The head. Its card has the acceptance at each step of a draft.

    Raises:
        InvalidSetting: no run folder, or more depths than the model has layers.
        InvalidData: there are fewer than 20 texts, or fewer that are longer than `steps`; or the folder is another
            run's.
        InvalidOutput: it cannot be written.
        CorruptCheckpoint: its newest checkpoint is damaged.
        TrainingDiverged: the loss is not finite.
    """
    settings, options = settings or DraftSettings(), options or RunOptions()
    if options.run is None:
        raise InvalidSetting("got no run folder, expected one: what the model makes of its texts is kept there")
    if len(prompts) + len(texts) < FEWEST_TEXTS:
        raise InvalidData(f"got {len(prompts) + len(texts)} prompts and texts, expected at least {FEWEST_TEXTS}")
    if settings.max_tokens > base.context_length:
        raise InvalidSetting(f"got max_tokens={settings.max_tokens}, expected at most {base.context_length}")
    even_taps(base.layers, settings.taps)  # or it raises
    given = _long_enough(texts, settings)
    _check_count(len(prompts) + len(given), settings)
    with options.run.locked():
        own = OwnTexts(base, prompts, settings, options.run.path / OWN_TEXTS).write(options.progress.writing)
        every = [*_long_enough(own, settings), *given]
        _check_count(len(every), settings)
        return _Run(base, every, settings, options, options.run).result()


def _long_enough(texts: Sequence[Ids], settings: DraftSettings) -> list[list[int]]:
    """The texts, cut at their ends, without those that have no token to guess `steps` tokens behind another."""
    return [list(ids[: settings.max_tokens]) for ids in texts if len(ids) > settings.steps]


def _check_count(long_enough: int, settings: DraftSettings) -> None:
    if long_enough < FEWEST_TEXTS:
        raise InvalidData(
            f"got {long_enough} texts of more than steps={settings.steps} tokens, expected at least {FEWEST_TEXTS}; "
            "the others are too short to learn from: give longer ones, or fewer steps"
        )


@final
class _Run:
    """The training on given texts."""

    def __init__(
        self, base: FrozenLM, texts: list[list[int]], settings: DraftSettings, options: RunOptions, run: RunFolder
    ):
        set_seed(settings.seed)
        held_out = min(MOST_HELD_OUT, max(1, len(texts) // HELD_OUT_SHARE))
        self._settings, self._options, self._run, self._base = settings, options, run, base
        self._held_out, train = texts[:held_out], texts[held_out:]
        tokens = frequent_tokens(train, settings.tokens)
        self._card = _new_card(base, len(tokens), settings)
        head = build_head(base, self._card, torch.tensor(tokens)).to(base.device)
        self._task = DraftTask(base, head, settings.steps, settings.top_k)
        self._fit_scale(train[:SCALE_TEXTS])
        self._reads = KeptReads(
            train, self._task, base.base_weights_fingerprint, run.path / KEPT_STATES, options.progress.keeping
        )

    def result(self) -> DraftModel:
        """Train, or read what a finished run left; measure; make the card."""
        run, progress = self._run, self._options.progress
        run.claim(self._resolved(), self._options.provenance)
        unfinished = None if run.final.exists() else run
        trainer = DraftTrainer(
            self._task, self._reads, self._held_out, self._settings, run.checkpoints, Recorder(unfinished, progress)
        )
        if run.final.exists():
            progress.already_finished()
            try:
                trainer.load_head(run.final)
            except CorruptReward as error:
                raise CorruptCheckpoint(f"cannot read {str(run.final)!r}; remove it to train on") from error
        else:
            checkpoint = run.resume()
            if checkpoint is not None:
                progress.resumed(checkpoint.name)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            run.keep_final(trainer.head_tensors())
        return self._measured(trainer)

    def _measured(self, trainer: DraftTrainer) -> DraftModel:
        figures = trainer.evaluate()
        quality = {"held-out texts": len(self._held_out), "loss": figures.pop("eval_loss"), **figures}
        facts = {**self._options.provenance, "examples_digest": self._reads.digest, "settings": asdict(self._settings)}
        provenance = {**facts, **versions(), **machine(self._base, self._settings.recipe)}
        card = DraftCard(**{**asdict(self._card), "provenance": provenance, "quality": quality})
        base = self._base
        head = self._task.head.to(base.device, base.model.dtype).eval().requires_grad_(False)
        return DraftModel(head, card, self._options.name)

    def _fit_scale(self, texts: list[list[int]]) -> None:
        ids, mask = (part.to(self._base.device) for part in padded(texts))
        with torch.inference_mode():
            self._task.head.fit_scale([states[mask].float() for states in self._task.read(ids).states])

    def _resolved(self) -> dict[str, Any]:
        """Everything that the run's result depends on."""
        return {"settings": asdict(self._settings), "texts": self._reads.digest, "base": self._card.base}


def frequent_tokens(texts: Sequence[Ids], most: int) -> list[int]:
    """The most frequent tokens of some texts, ascending; of equally frequent ones, those with low ids."""
    counts = Counter(token for text in texts for token in text)
    return sorted(sorted(counts, key=lambda token: (-counts[token], token))[:most])


def _new_card(base: FrozenLM, tokens: int, settings: DraftSettings) -> DraftCard:
    return DraftCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        base_weights_fingerprint=base.base_weights_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        tokens=tokens,
        taps=even_taps(base.layers, settings.taps),
        width=settings.width,
        heads=settings.heads,
    )
