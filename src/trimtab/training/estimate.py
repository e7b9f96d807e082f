"""How long a distillation will take, measured on a few texts."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.network import build_network
from trimtab.training.initial_weights import prepare_for_training
from trimtab.training.new_card import new_card
from trimtab.training.recipe import DistilSettings, Recipe
from trimtab.training.teacher import teacher_rewards
from trimtab.training.text_teacher import AnyTeacher

MEASURED = 8  # texts


def estimate_seconds(
    base: FrozenLM,
    teachers: Sequence[AnyTeacher],
    texts: Sequence[Sequence[int]],
    recipe: Recipe,
    settings: DistilSettings,
) -> dict[str, float]:
    """The seconds that the teachers and the training will take, by the time of 8 texts.

    Args:
        base, teachers, recipe, settings: of the run; its trunk is a ladder.
        texts: all texts of the run, as token ids.

    Returns:
        The seconds of "teacher" and "training".
    """
    some = texts[:: max(1, len(texts) // MEASURED)][:MEASURED]
    share = len(texts) / len(some)

    def teach(number: int) -> None:
        for teacher in teachers:
            _teach(base, teacher, some[:number], recipe, settings)

    teach(1)  # what happens once, such as merging adapters
    training = _training_seconds(base, [name for each in teachers for name in each.attributes], some, recipe)
    return {"teacher": _seconds(lambda: teach(len(some))) * share, "training": training * share}


def _teach(
    base: FrozenLM, teacher: AnyTeacher, texts: Sequence[Sequence[int]], recipe: Recipe, settings: DistilSettings
) -> None:
    k, positions = settings.candidates, settings.positions
    with TemporaryDirectory() as folder:
        teacher_rewards(teacher, base, texts, k, Path(folder), recipe.bf16, positions=positions)


def _training_seconds(
    base: FrozenLM, attributes: Sequence[str], texts: Sequence[Sequence[int]], recipe: Recipe
) -> float:
    """The time of the base's forwards of some texts, and of the ladder's steps on its states, over all epochs."""
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
    passes = 1 if recipe.keep_states else recipe.epochs
    return _seconds(read) * passes + _seconds(step) * recipe.epochs


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
