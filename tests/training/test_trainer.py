"""The Trainer of rewards: its checkpoints, its metrics and its refusals."""

import pytest

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.data.jsonlines import read_lines
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.run_folder import RunFolder

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)


def train(run, **changes):
    return train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, quick(**changes), options=RunOptions(run))


def rows_of(run, name):
    return [line.row for line in read_lines(run.metrics) if name in line.row]


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


def test_a_run_that_diverges_says_so_and_saves_no_checkpoint(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(errors.TrainingDiverged, match="lower the learning rate"):
        train(run, head="v", learning_rate=1e30, warmup_steps=0)
    assert run.resume() is None
