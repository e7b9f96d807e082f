"""How long a distillation will take, measured on a few texts."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.network import build_network
from trimtab.training.examples import contexts_of
from trimtab.training.initial_weights import prepare_for_training
from trimtab.training.measure import PROBED_TEXTS
from trimtab.training.new_card import new_card
from trimtab.training.recipe import DistilSettings, Recipe
from trimtab.training.teacher import quick_form, targets_of
from trimtab.training.text_teacher import AnyTeacher
from trimtab.training.trainer import QUICK_HELD_OUT

MEASURED = 8  # texts
HELD_OUT_READS = 3  # of every held-out text, for the loss, the agreement and the rewards of prefixes


def estimate_seconds(
    base: FrozenLM,
    teachers: Sequence[AnyTeacher],
    examples: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    settings: DistilSettings,
    count: int,
    held_out: int,
) -> dict[str, float]:
    """The seconds that the teachers, the training and the measuring will take, by the time of 8 texts.

    Args:
        base, teachers, recipe, settings: of the run; its trunk is a ladder.
        examples: some of the run's texts, as `TokenizedTexts` has them.
        count: how many texts the run has.
        held_out: how many of them it measures on.

    Returns:
        The seconds of "teacher", "training" and "measuring".
    """
    places = np.linspace(0, len(examples) - 1, min(MEASURED, len(examples))).round().astype(int)
    some = [examples[place] for place in places]
    texts, contexts, share = [example["input_ids"] for example in some], contexts_of(some), count / len(some)

    quick = [quick_form(teacher, recipe.bf16) for teacher in teachers]
    k, positions = settings.candidates, settings.positions

    def teach(number: int) -> None:
        for teacher in quick:
            targets_of(teacher, base, texts[:number], k, positions, recipe.bf16, contexts[:number])

    teach(1)  # what happens once
    teacher = _seconds(lambda: teach(len(some)))
    read, step = _text_seconds(base, [name for each in teachers for name in each.attributes], texts, recipe)
    return {
        "teacher": teacher * share,
        "training": (read * (1 if recipe.keep_states else recipe.epochs) + step * recipe.epochs) * (count - held_out),
        "measuring": read * _reads(held_out, recipe.checkpoints),
    }


def _reads(held_out: int, checkpoints: int) -> int:
    """How many times a held-out text is read: at each checkpoint the first of them, at the end all."""
    quick = HELD_OUT_READS * min(held_out, QUICK_HELD_OUT) + min(held_out, PROBED_TEXTS)
    return checkpoints * quick + HELD_OUT_READS * held_out


def _text_seconds(
    base: FrozenLM, attributes: Sequence[str], texts: Sequence[Sequence[int]], recipe: Recipe
) -> tuple[float, float]:
    """The time of the base's forward of a text, and of the ladder's step on its states."""
    network = build_network(base, new_card(base, attributes, recipe))
    prepare_for_training(network, recipe.trunk, np.zeros(network.attributes))
    batch = base.batch(texts)
    with torch.no_grad():
        states = network.encoder.tapped(batch.ids, batch.mask).states.float()

    def read() -> None:
        with torch.no_grad():
            network.encoder.tapped(batch.ids, batch.mask)

    def step() -> None:
        network(batch.ids, batch.mask, states).values.float().square().mean().backward()

    step()  # what happens once
    return _seconds(read) / len(texts), _seconds(step) / len(texts)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
