"""One training run from a card to a reward: what every objective has in common."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import set_seed

from trimtab.errors import CorruptCheckpoint, CorruptReward, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.rewards.card import Link, RewardCard, TrunkTraining
from trimtab.rewards.catalogue import find_reward
from trimtab.rewards.folder import WEIGHTS_FILE, load_own_tensors
from trimtab.rewards.heads import QHead
from trimtab.rewards.model import RewardModel
from trimtab.rewards.network import RewardNetwork, build_network, own_tensors
from trimtab.training.compute import processes
from trimtab.training.data import Examples
from trimtab.training.progress import Recorder, Report
from trimtab.training.recipe import Recipe
from trimtab.training.run import RunFolder
from trimtab.training.trainer import Measure, Objective, RewardTrainer


@final
@dataclass(frozen=True)
class Fit:
    """What a run has beside its recipe.

    Attributes:
        run: keeps metrics and checkpoints, and is gone on with; None for neither.
        report: told how far it is.
        name: the reward's.
        provenance: goes into the card: the data, the command.
    """

    run: RunFolder | None = None
    report: Report = field(default_factory=Report)
    name: str = "reward"
    provenance: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Lesson:
    """What an objective brings to a run.

    Attributes:
        objective, examples: what is learnt.
        held_out, measure: what it is measured on.
        start_at: what the prefix's baseline starts at, per attribute.
        facts: goes into the card.
        clamp_to_range: take the card's clamp from the held-out rewards, for those that are no probabilities.
    """

    objective: Objective
    examples: Examples
    held_out: Examples
    measure: Measure
    start_at: np.ndarray
    facts: Mapping[str, Any]
    clamp_to_range: bool = False


def fit(base: FrozenLM, card: RewardCard, lesson: Lesson, recipe: Recipe, options: Fit) -> RewardModel:
    """Train the network of a card, going on from the run's newest checkpoint, and measure it.

    Raises:
        CorruptCheckpoint: that checkpoint is damaged.
    """
    if recipe.patience is not None and options.run is None:
        raise InvalidSetting("got patience without a run folder, expected one: the best weights are kept there")
    set_seed(recipe.seed)
    network = build_network(base, card)
    prepare_for_training(network, card.trunk, lesson.start_at)
    if recipe.start is not None:
        options.report.started(start_from(network, card.trunk, find_reward(recipe.start)), len(own(network, card)))
    if options.run is not None:
        with processes().main_process_first():
            options.run.claim(what_decides(card, lesson, recipe), options.provenance)
    run = None if options.run is None or options.run.final.exists() else options.run
    trainer = RewardTrainer(
        network=network,
        trunk=card.trunk,
        objective=lesson.objective,
        measure=lesson.measure,
        recipe=recipe,
        examples=lesson.examples,
        held_out=lesson.held_out,
        vocabulary=len(base.tokenizer),
        run_folder=run.checkpoints if run else None,
        callbacks=[Recorder(run, options.report)],
    )
    if options.run is not None and run is None:
        options.report.finished_before()
        load_final(network, card, options.run)
    else:
        train(trainer, run, options.report)
    trainer.most_held_out = None
    measured = trainer.evaluate()
    quality = {"loss": measured.pop("eval_loss"), **measured}
    spread = quality["reward_range"]
    card = replace(
        card,
        clamp=(spread["1%"], spread["99%"]) if lesson.clamp_to_range and spread["1%"] < spread["99%"] else card.clamp,
        provenance={**options.provenance, **lesson.facts, **versions(), "recipe": resolved(recipe)},
        quality=quality,
    )
    return RewardModel(network, card, base, options.name)


def what_decides(card: RewardCard, lesson: Lesson, recipe: Recipe) -> dict[str, Any]:
    """Everything that a run's result depends on; a run with another value of any is another run."""
    shape = {name: value for name, value in asdict(card).items() if name not in ("provenance", "quality", "clamp")}
    start = None if recipe.start is None else (find_reward(recipe.start) / WEIGHTS_FILE).read_bytes()
    return {
        "reward": shape,
        "recipe": asdict(recipe),
        "facts": dict(lesson.facts),
        "texts": lesson.examples.digest,
        "held_out": lesson.held_out.digest,
        "start": start and hashlib.sha256(start).hexdigest()[:16],
    }


def versions() -> dict[str, str]:
    """What the run was computed by."""
    return {"trimtab": version("trimtab"), "torch": torch.__version__}


def resolved(recipe: Recipe) -> dict[str, Any]:
    """A recipe with the learning rate that it comes to."""
    return {**asdict(recipe), "learning_rate": recipe.resolved_learning_rate}


def train(trainer: RewardTrainer, run: RunFolder | None, report: Report) -> None:
    """Train to the end, from a run's newest checkpoint on; the run keeps the final weights."""
    with processes().main_process_first():
        checkpoint = run.resume() if run else None
    if checkpoint is not None:
        report.resumed(checkpoint.name)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if run is not None and trainer.args.should_save:
        partial = run.final.with_suffix(".partial")
        save_file(trainer.own_tensors(), partial)
        partial.replace(run.final)


def load_final(network: RewardNetwork, card: RewardCard, run: RunFolder) -> None:
    """Put the weights of a finished run into its network.

    Raises:
        CorruptCheckpoint: they are damaged.
    """
    try:
        load_own_tensors(network, card.trunk, run.final)
    except CorruptReward as error:
        raise CorruptCheckpoint(f"cannot read {str(run.final)!r}; remove it to go on from the checkpoints") from error


def own(network: RewardNetwork, card: RewardCard) -> dict[str, torch.Tensor]:
    """What the reward adds to its base."""
    return own_tensors(network, card.trunk)


def new_card(
    base: FrozenLM,
    attributes: Sequence[str],
    recipe: Recipe,
    link: Link = "identity",
    baseline: bool = True,
    clamp: tuple[float, float] | None = (0.0, 1.0),
) -> RewardCard:
    """The card of a reward about to be trained."""
    hosted = recipe.trunk == "frozen" and not base.prepends_bos
    return RewardCard(
        base=base.name,
        base_fingerprint=base.base_fingerprint,
        tokenizer_fingerprint=base.tokenizer_fingerprint,
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


def prepare_for_training(network: RewardNetwork, trunk: TrunkTraining, start_at: np.ndarray) -> None:
    """Hold what is trained in float32, and start the prefix's baseline at a value for each attribute."""
    for name, weight in network.named_parameters():
        trained = trunk == "full" or name.startswith("head.") or "lora_" in name
        weight.requires_grad_(trained)
        if trained:
            weight.data = weight.data.float()
    value = network.head.baseline if isinstance(network.head, QHead) else network.head.value
    if value is not None:
        nn.init.zeros_(value.weight)
        value.bias.data.copy_(torch.as_tensor(start_at))


def start_from(network: RewardNetwork, trunk: TrunkTraining, folder: Path) -> int:
    """Copy a saved reward's weights where name and shape agree; returns how many tensors did.

    A V-head's value is a Q-head's baseline: both are the reward of the prefix.

    Raises:
        CorruptReward: the file cannot be read.
        InvalidSetting: nothing agrees.
    """
    try:
        saved = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise CorruptReward(f"cannot read {str(folder / WEIGHTS_FILE)!r}: {error}") from error
    value, baseline = (
        ("head.value.", "head.baseline.") if isinstance(network.head, QHead) else ("head.baseline.", "head.value.")
    )
    saved = {name.replace(value, baseline): weight for name, weight in saved.items()}
    own = own_tensors(network, trunk)
    agreeing = {name: saved[name] for name in own if name in saved and saved[name].shape == own[name].shape}
    if not agreeing:
        raise InvalidSetting(f"got start={str(folder)!r}, expected a reward that shares a weight's shape with this one")
    network.load_state_dict(agreeing, strict=False)
    return len(agreeing)
