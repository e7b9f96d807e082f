"""The Trainer of rewards: its checkpoints, its metrics and its refusals."""

import math

import pytest
import torch

from full_disk import files_of_at_most
from good_words import good_words, quick
from tiny import VOCABULARY, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data.jsonlines import read_lines
from trimtab.training.examples import TokenizedTexts
from trimtab.training.fit import RunOptions
from trimtab.training.labels import Labels, train_from_labels
from trimtab.training.objectives import Loss, token_mean
from trimtab.training.recipe import LabelSettings
from trimtab.training.run_folder import RunFolder
from trimtab.training.trainer import RewardTrainer, training_arguments

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)


def train(run, **changes):
    return train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, quick(**changes), options=RunOptions(run))


def rows_of(run, name):
    return [line.row for line in read_lines(run.metrics) if name in line.row]


def trainer_of(regulariser):
    lm = tiny_lm("llama")
    reward, texts = tiny_reward(lm, "q", attributes=("good",)), TokenizedTexts(TRAIN, lm, 128)
    objective, recipe = Labels(LabelSettings(), lm.pad_token_id), quick(regulariser=regulariser)
    return RewardTrainer(
        reward.network, "lora", objective, lambda *_: {}, recipe, texts, texts, VOCABULARY, run_folder=None
    )


def seeded_loss(trainer, batch, training):
    torch.manual_seed(7)
    return trainer.compute_loss(trainer.network.train(training), batch)


def test_the_regulariser_is_its_weight_times_the_mean_penalty_of_known_tokens():
    plain, regularised = trainer_of(0.0), trainer_of(2.0)
    batch = plain.objective.collate(plain.train_dataset.first(8))
    scored = plain.network(batch["ids"], batch["mask"])
    assert not scored.known.all(), "expected padding"
    torch.manual_seed(7)
    expected = 2 * token_mean(plain.network.head.penalty(scored.before, VOCABULARY), scored.known).mean
    added, measured = (
        seeded_loss(regularised, batch, training) - seeded_loss(plain, batch, training) for training in (True, False)
    )
    assert expected > 0.1
    torch.testing.assert_close(added, expected)
    assert measured == 0


@pytest.mark.parametrize(("examples", "warmup_steps"), [(2000, 50), (100, 10)])  # of 400 steps, and of 20
def test_the_optimizer_has_the_settings_of_the_recipe_and_of_the_papers(examples, warmup_steps):
    recipe = quick(clip=3.0, warmup_steps=50, bf16=True, batch_size=20, epochs=4, learning_rate=5e-3)
    found = training_arguments(recipe, None, examples)
    assert found.lr_scheduler_type == "linear"
    assert found.learning_rate == 5e-3
    assert found.warmup_steps == warmup_steps
    assert found.max_grad_norm == 3.0
    assert (found.adam_beta1, found.adam_beta2, found.adam_epsilon, found.weight_decay) == (0.9, 0.95, 1e-12, 0.01)
    assert found.bf16
    assert not training_arguments(quick(bf16=False), None, examples).bf16


def test_metrics_are_recorded_in_training_and_at_every_checkpoint(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run, epochs=2.5, checkpoints=5)
    logged, measured = rows_of(run, "loss"), rows_of(run, "eval_loss")
    assert logged
    assert all(row["tokens_per_second"] > 0 and 0 <= row["padding"] < 0.15 for row in logged)
    assert [row["step"] for row in measured] == [4, 8, 12, 16, 20, 20]
    expected = {"accuracy:good", "auc:good", "spearman:good", "accuracy_by_prefix:good", "top1_flip", "reward_range"}
    assert all(expected <= row.keys() for row in measured)


def test_one_checkpoint_is_made_at_the_end(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run, epochs=1, checkpoints=1)
    measured = rows_of(run, "eval_loss")
    assert [(row["step"], row.get("final")) for row in measured] == [(8, None), (8, True)]


def test_a_run_of_one_step_changes_the_weights(tmp_path):
    reward = train(RunFolder(tmp_path / "run"), batch_size=500, warmup_steps=100, epochs=1)
    assert reward.network.head.down.abs().max() > 0


def test_training_without_a_run_folder_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(None, epochs=0.1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def diverging(monkeypatch):
    """Return a function that lets the loss of a training batch be a number, behind that many batches."""
    whole = Labels.loss

    def let(batches, number):
        left = iter(range(batches))

        def loss(self, *arguments):
            found = whole(self, *arguments)
            bad = torch.is_grad_enabled() and next(left, None) is None
            return Loss(found.total * number, found.items) if bad else found

        monkeypatch.setattr(Labels, "loss", loss)

    return let


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_at_once(tmp_path, diverging, number):
    """The checkpoint before is kept; nothing else is saved, and the same command says the same again."""
    run = RunFolder(tmp_path / "run")
    diverging(5, number)
    with pytest.raises(errors.TrainingDiverged, match=r"the loss is not finite after step 5 of 16.*learning rate"):
        train(run, epochs=2)
    assert not run.final.exists()
    assert [row["step"] for row in rows_of(run, "eval_loss")] == [4]
    assert run.resume().name == "checkpoint-4"
    diverging(1, number)
    with pytest.raises(errors.TrainingDiverged, match="after step 5 of 16"):
        train(run, epochs=2)
    assert run.resume().name == "checkpoint-4"


@pytest.mark.long
def test_a_run_that_diverged_resumes_from_its_last_good_checkpoint(tmp_path, diverging):
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    expected = train(whole, epochs=2).network.state_dict()
    diverging(5, math.nan)
    with pytest.raises(errors.TrainingDiverged):
        train(run, epochs=2)
    diverging(100, math.nan)  # the fault is gone
    found = train(run, epochs=2).network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_an_accelerator_is_asked_only_when_a_row_is_logged(tmp_path, diverging, monkeypatch):
    """The loss is watched on the device: no step waits for it, and nothing is saved behind it."""
    monkeypatch.setattr(RewardTrainer, "_watch", watch_as_on_an_accelerator)
    run = RunFolder(tmp_path / "run")
    diverging(5, math.nan)
    with pytest.raises(errors.TrainingDiverged, match="after step 8 of 16"):
        train(run, epochs=2)
    assert run.resume().name == "checkpoint-4"
    assert not run.final.exists()


def watch_as_on_an_accelerator(self, loss):
    self._loss_is_finite = loss.detach().isfinite() & self._loss_is_finite


def test_a_loss_on_held_out_texts_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(RewardTrainer, "_held_out_loss", lambda self: math.inf)
    run = RunFolder(tmp_path / "run")
    with pytest.raises(errors.TrainingDiverged, match="held-out texts is not finite after step 2 of 8"):
        train(run, epochs=1)
    assert run.resume() is None


def test_a_learning_rate_that_is_far_too_high_saves_no_checkpoint(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(errors.TrainingDiverged, match="lower the learning rate"):
        train(run, head="v", trunk="full", learning_rate=1e9, warmup_steps=0, epochs=10)
    assert run.resume() is None
    assert not run.final.exists()


@pytest.mark.long
@pytest.mark.parametrize("size", [300, 2_000, 30_000, 80_000])
def test_a_full_disk_is_named_and_the_run_resumes(tmp_path, size):
    """At sizes that stop the settings, the weights, the optimizer's state, and its end."""
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    expected = train(whole, epochs=1).network.state_dict()
    with files_of_at_most(size), pytest.raises((errors.InvalidOutput, OSError), match=str(run.path)):
        train(run, epochs=1)
    assert not run.final.exists()
    assert not list(run.path.rglob("*.partial"))
    found = train(run, epochs=1).network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [row["step"] for row in rows_of(run, "eval_loss")] == [row["step"] for row in rows_of(whole, "eval_loss")]


def test_the_regulariser_draws_no_token_that_the_model_does_not_have():
    lm = tiny_lm("llama")
    lm.tokenizer.add_tokens([f"more{number}" for number in range(500)])
    assert len(lm.tokenizer) > lm.vocabulary_size
    reward = train_from_labels(lm, ["good"], TRAIN[:40], HELD_OUT, quick(epochs=1, regulariser=1.0))
    assert reward.card.quality["texts"] == len(HELD_OUT)


def test_every_process_shuffles_for_the_epoch_that_a_run_is_in(monkeypatch):
    """Accelerate hands the epoch on to no sampler behind the shards of several processes."""
    found = []
    monkeypatch.setattr("trimtab.training.fit.train", lambda trainer, *given: found.append(trainer))
    train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, quick(epochs=2))
    (trainer,) = found
    sampler = trainer._get_train_sampler()
    trainer.state.epoch = 1.5
    trainer.callback_handler.on_epoch_begin(trainer.args, trainer.state, trainer.control)
    assert sampler.epoch == 1
