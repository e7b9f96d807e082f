"""How long a distillation will take, measured on a few texts."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.network import build_network
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.initial_weights import prepare_for_training
from trimtab.training.new_card import new_card
from trimtab.training.recipe import DistilSettings, Recipe
from trimtab.training.teacher import teacher_rewards
from trimtab.training.text_teacher import TextTeacher

MEASURED = 8  # texts


def estimate_seconds(
    base: FrozenLM,
    teacher: RewardModel | TextTeacher,
    texts: Sequence[Sequence[int]],
    recipe: Recipe,
    settings: DistilSettings,
) -> dict[str, float]:
    """The seconds that the teacher and the training will take, by the time of 8 texts.

    Args:
        base, teacher, recipe, settings: of the run; its trunk is a ladder.
        texts: all texts of the run, as token ids.

    Returns:
        The seconds of "teacher" and "training".
    """
    some = texts[:: max(1, len(texts) // MEASURED)][:MEASURED]

    def teach(number: int) -> None:
        with TemporaryDirectory() as folder:
            teacher_rewards(
                teacher,
                base,
                some[:number],
                settings.candidates,
                Path(folder),
                recipe.bf16,
                positions=settings.positions,
            )

    teach(1)  # what happens once, such as merging adapters
    reading, step = _training(base, teacher, some, recipe)
    share = len(texts) / len(some)
    passes = 1 if recipe.keep_states else recipe.epochs
    training = reading() * passes + step() * recipe.epochs
    return {"teacher": _seconds(lambda: teach(len(some))) * share, "training": training * share}


def _training(
    base: FrozenLM, teacher: RewardModel | TextTeacher, texts: Sequence[Sequence[int]], recipe: Recipe
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Functions that time the base's forward of some texts, and a step of the ladder on its states."""
    network = build_network(base, new_card(base, teacher.attributes, recipe))
    prepare_for_training(network, recipe.trunk, torch.zeros(network.attributes).numpy())
    batch = base.batch(texts)
    with torch.no_grad():
        states = network.encoder.tapped(batch.ids, batch.mask).states.float()

    def read() -> None:
        with torch.no_grad():
            network.encoder.tapped(batch.ids, batch.mask)

    def step() -> None:
        network(batch.ids, batch.mask, states).values.float().square().mean().backward()

    return lambda: _seconds(read), lambda: _seconds(step)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
