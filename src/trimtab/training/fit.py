"""A training run from a card to a trained and measured reward, for every objective."""

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

import numpy as np
from transformers import set_seed

from trimtab.checking import checked
from trimtab.data.json_text import dump_json
from trimtab.errors import CorruptCheckpoint, CorruptReward, InvalidSetting, WrongType
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import WEIGHTS_FILE, RewardCard
from trimtab.rewards.folder import load_own_tensors
from trimtab.rewards.network import RewardNetwork, build_network, reward_tensors
from trimtab.rewards.registry import find_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.weights import sha256
from trimtab.training.callbacks import Recorder, TrainingProgress
from trimtab.training.distributed import processes
from trimtab.training.examples import Examples
from trimtab.training.facts import machine, resolved
from trimtab.training.initial_weights import fit_ladder_scale, prepare_for_training, start_from
from trimtab.training.kept_states import KeptStates
from trimtab.training.recipe import Recipe
from trimtab.training.run_folder import KEPT_STATES, RunFolder
from trimtab.training.trainer import Measure, Objective, RewardTrainer
from trimtab.versions import versions

SCALE_EXAMPLES = 256  # of the training data; a ladder's scale is fitted to them
LOSS_RULE = 3  # averaged over attributes, except for labels and pairs; a run of another rule does not resume


@final
@checked
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

    def __post_init__(self) -> None:
        try:
            dump_json(dict(self.provenance))
        except (TypeError, ValueError, RecursionError) as error:
            raise WrongType(
                f"got provenance that JSON cannot hold ({error}), expected numbers, texts and lists"
            ) from error


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
        InvalidData: the run folder belongs to another run, or another process trains in it.
        InvalidOutput: the run folder cannot be written.
        CorruptCheckpoint: the newest checkpoint is damaged.
        TrainingDiverged: a loss or a weight is not finite; the run folder keeps the last checkpoint before.
    """
    run = options.run
    if recipe.patience is not None and run is None:
        raise InvalidSetting("got patience without a run folder, expected one: the best weights are kept there")
    if recipe.keep_states and run is None:
        raise InvalidSetting("got keep_states without a run folder, expected one: the states are kept there")
    with contextlib.nullcontext() if run is None or not processes().is_main_process else run.locked():
        return _fit(base, card, task, recipe, options)


def _fit(base: FrozenLM, card: RewardCard, task: TrainingTask, recipe: Recipe, options: RunOptions) -> RewardModel:
    run = options.run
    set_seed(recipe.seed)
    network = build_network(base, card)
    prepare_for_training(network, card.trunk, task.start_at)
    fit_ladder_scale(network, task.objective.collate(task.examples.first(SCALE_EXAMPLES)), recipe.bf16)
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
        if recipe.keep_states and run is not None:
            task = with_kept_states(task, network, base, recipe, run, options.progress)
        trainer = make_trainer(base, network, card, task, recipe, options.progress, run)
        train(trainer, run, options.progress)
    measured = measured_card(base, card, trainer, task, recipe, options)
    if run is not None:
        keep_final(trainer, run)
    return RewardModel(network, measured, base, options.name)


def with_kept_states(
    task: TrainingTask,
    network: RewardNetwork,
    base: FrozenLM,
    recipe: Recipe,
    run: RunFolder,
    progress: TrainingProgress,
) -> TrainingTask:
    """The task with the hidden states of its training texts, in the run's folder.

    Raises:
        InvalidSetting, InvalidData, InvalidOutput: as in `KeptStates`.
    """
    folder = run.path / KEPT_STATES
    kept = KeptStates(task.examples, network, base.pad_token_id, folder, recipe.bf16, progress.keeping)
    return replace(task, examples=kept)


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
        vocabulary=min(len(base.tokenizer), base.vocabulary_size),
        run_folder=run.checkpoints if run else None,
        callbacks=[Recorder(run, progress)],
    )


def measured_card(
    base: FrozenLM, card: RewardCard, trainer: RewardTrainer, task: TrainingTask, recipe: Recipe, options: RunOptions
) -> RewardCard:
    """Measure on all held-out texts, and put the figures and the provenance into the card.

    Raises:
        TrainingDiverged: the loss or a weight is not finite.
    """
    trainer.most_held_out = None
    measured = trainer.evaluate()
    warning = {"warning": measured.pop("warning")} if "warning" in measured else {}
    quality = {**warning, "loss": measured.pop("eval_loss"), **measured}
    spread = quality["reward_range"]
    return replace(
        card,
        clamp=(spread["1%"], spread["99%"]) if task.clamp_to_range and spread["1%"] < spread["99%"] else card.clamp,
        provenance={
            **options.provenance,
            **task.facts,
            "examples_digest": task.examples.digest,
            "held_out_digest": task.held_out.digest,
            **versions(),
            **machine(base, recipe),
            "recipe": resolved(recipe),
        },
        quality=quality,
    )


def resolved_settings(card: RewardCard, task: TrainingTask, recipe: Recipe) -> dict[str, Any]:
    """Everything that a run's result depends on. A run folder with other values belongs to another run."""
    shape = {name: value for name, value in card.as_dict().items() if name not in ("provenance", "quality", "clamp")}
    start = None if recipe.start is None else sha256(find_reward(recipe.start) / WEIGHTS_FILE)
    return {
        "reward": shape,
        "recipe": asdict(recipe),
        "facts": dict(task.facts),
        "texts": task.examples.digest,
        "held_out": task.held_out.digest,
        "loss_rule": LOSS_RULE,
        "start": start and start[:16],
    }


def train(trainer: RewardTrainer, run: RunFolder | None, progress: TrainingProgress) -> None:
    """Train to the end, from the run's newest checkpoint if there is one."""
    with processes().main_process_first():
        checkpoint = run.resume(processes().is_main_process) if run else None
    if checkpoint is not None:
        progress.resumed(checkpoint.name)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    for name in ("forward", "_original_forward"):  # accelerate's, which computes in the format of training
        trainer.network.__dict__.pop(name, None)


def keep_final(trainer: RewardTrainer, run: RunFolder) -> None:
    """Keep the weights of a finished run in its folder, in the first process only.

    Raises:
        TrainingDiverged: a weight is not finite.
        InvalidOutput: the folder cannot be written.
    """
    if run.final.exists() or not trainer.args.should_save:
        return
    run.keep_final(trainer.reward_tensors())


def load_final(network: RewardNetwork, card: RewardCard, run: RunFolder) -> None:
    """Load the weights of a finished run into its network.

    Raises:
        CorruptCheckpoint: the weights are damaged.
    """
    try:
        load_own_tensors(network, card.trunk, run.final)
    except CorruptReward as error:
        raise CorruptCheckpoint(f"cannot read {str(run.final)!r}; remove it to resume from the checkpoints") from error
