"""A training run from a card to a trained and measured reward, for every objective."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, final

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import set_seed

from trimtab.errors import CorruptCheckpoint, CorruptReward, InvalidSetting
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import Link, RewardCard
from trimtab.rewards.folder import WEIGHTS_FILE, load_own_tensors
from trimtab.rewards.network import RewardNetwork, build_network, reward_tensors
from trimtab.rewards.registry import find_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.callbacks import Recorder, TrainingProgress
from trimtab.training.distributed import processes
from trimtab.training.examples import Examples
from trimtab.training.initial_weights import prepare_for_training, start_from
from trimtab.training.recipe import Recipe
from trimtab.training.run_folder import RunFolder
from trimtab.training.trainer import Measure, Objective, RewardTrainer


@final
@dataclass(frozen=True)
class RunOptions:
    """The options of a run that do not change its result.

    Attributes:
        run: the folder for metrics and checkpoints; an interrupted run resumes from it. None for no folder.
        progress: the listener.
        name: the name of the reward.
        provenance: the data and the command, for the card.
    """

    run: RunFolder | None = None
    progress: TrainingProgress = field(default_factory=TrainingProgress)
    name: str = "reward"
    provenance: Mapping[str, object] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class TrainingTask:
    """An objective with its data.

    Attributes:
        objective: the loss.
        examples: the data to train on.
        held_out: the data to measure on.
        measure: the measure on that data.
        start_at: the reward of every prefix before training, for each attribute.
        facts: facts about data and objective, for the card.
        clamp_to_range: set the card's clamp to the range of the held-out rewards.
    """

    objective: Objective
    examples: Examples
    held_out: Examples
    measure: Measure
    start_at: np.ndarray
    facts: Mapping[str, object]
    clamp_to_range: bool = False


def fit(base: FrozenLM, card: RewardCard, task: TrainingTask, recipe: Recipe, options: RunOptions) -> RewardModel:
    """Train the network of a card and measure it. An interrupted run resumes from its newest checkpoint.

    Raises:
        InvalidSetting: a setting does not fit the base, or patience without a run folder.
        InvalidData: the run folder belongs to another run.
        CorruptCheckpoint: the newest checkpoint is damaged.
    """
    run = options.run
    if recipe.patience is not None and run is None:
        raise InvalidSetting("got patience without a run folder, expected one: the best weights are kept there")
    set_seed(recipe.seed)
    network = build_network(base, card)
    prepare_for_training(network, card.trunk, task.start_at)
    if recipe.start is not None:
        copied = start_from(network, card.trunk, find_reward(recipe.start))
        options.progress.started(copied, len(reward_tensors(network, card.trunk)))
    if run is not None:
        with processes().main_process_first():
            run.claim(resolved_settings(card, task, recipe), options.provenance)
    if run is not None and run.final.exists():
        trainer = make_trainer(base, network, card, task, recipe, options.progress, run=None)
        options.progress.already_finished()
        load_final(network, card, run)
    else:
        trainer = make_trainer(base, network, card, task, recipe, options.progress, run)
        train(trainer, run, options.progress)
    return RewardModel(network, measured_card(card, trainer, task, recipe, options), base, options.name)


def make_trainer(
    base: FrozenLM,
    network: RewardNetwork,
    card: RewardCard,
    task: TrainingTask,
    recipe: Recipe,
    progress: TrainingProgress,
    run: RunFolder | None,
) -> RewardTrainer:
    """The Trainer of a run; without a run folder it saves no checkpoints and no metrics."""
    return RewardTrainer(
        network=network,
        trunk=card.trunk,
        objective=task.objective,
        measure=task.measure,
        recipe=recipe,
        examples=task.examples,
        held_out=task.held_out,
        vocabulary=len(base.tokenizer),
        run_folder=run.checkpoints if run else None,
        callbacks=[Recorder(run, progress)],
    )


def measured_card(
    card: RewardCard, trainer: RewardTrainer, task: TrainingTask, recipe: Recipe, options: RunOptions
) -> RewardCard:
    """Measure on all held-out texts, and put the figures and the provenance into the card."""
    trainer.most_held_out = None
    measured = trainer.evaluate()
    quality = {"loss": measured.pop("eval_loss"), **measured}
    spread = quality["reward_range"]
    return replace(
        card,
        clamp=(spread["1%"], spread["99%"]) if task.clamp_to_range and spread["1%"] < spread["99%"] else card.clamp,
        provenance={**options.provenance, **task.facts, **versions(), "recipe": resolved(recipe)},
        quality=quality,
    )


def resolved_settings(card: RewardCard, task: TrainingTask, recipe: Recipe) -> dict[str, Any]:
    """Everything that a run's result depends on. A run folder with other values belongs to another run."""
    shape = {name: value for name, value in asdict(card).items() if name not in ("provenance", "quality", "clamp")}
    start = None if recipe.start is None else (find_reward(recipe.start) / WEIGHTS_FILE).read_bytes()
    return {
        "reward": shape,
        "recipe": asdict(recipe),
        "facts": dict(task.facts),
        "texts": task.examples.digest,
        "held_out": task.held_out.digest,
        "start": start and hashlib.sha256(start).hexdigest()[:16],
    }


def versions() -> dict[str, str]:
    """The versions of trimtab and torch."""
    return {"trimtab": version("trimtab"), "torch": torch.__version__}


def resolved(recipe: Recipe) -> dict[str, Any]:
    """A recipe with its learning rate filled in."""
    return {**asdict(recipe), "learning_rate": recipe.resolved_learning_rate}


def train(trainer: RewardTrainer, run: RunFolder | None, progress: TrainingProgress) -> None:
    """Train to the end, from the run's newest checkpoint if there is one. The final weights are kept in the run."""
    with processes().main_process_first():
        checkpoint = run.resume() if run else None
    if checkpoint is not None:
        progress.resumed(checkpoint.name)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if run is not None and trainer.args.should_save:
        partial = run.final.with_suffix(".partial")
        save_file(trainer.reward_tensors(), partial)
        partial.replace(run.final)


def load_final(network: RewardNetwork, card: RewardCard, run: RunFolder) -> None:
    """Load the weights of a finished run into its network.

    Raises:
        CorruptCheckpoint: the weights are damaged.
    """
    try:
        load_own_tensors(network, card.trunk, run.final)
    except CorruptReward as error:
        raise CorruptCheckpoint(f"cannot read {str(run.final)!r}; remove it to resume from the checkpoints") from error


def new_card(
    base: FrozenLM,
    attributes: Sequence[str],
    recipe: Recipe,
    link: Link = "identity",
    baseline: bool = True,
    clamp: tuple[float, float] | None = (0.0, 1.0),
) -> RewardCard:
    """The card of a reward before training."""
    hosted = recipe.trunk == "frozen" and not base.prepends_bos
    return RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        tokenizer_fingerprint=base.codec.fingerprint,
        layers=base.layers if recipe.layers is None else recipe.layers,
        head=recipe.head,
        attributes=tuple(attributes),
        trunk=recipe.trunk,
        rank=recipe.rank,
        baseline=baseline,
        lora_rank=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank,
        link=link,
        clamp=clamp,
        bos_token_id=None if hosted else base.bos_token_id,
    )
