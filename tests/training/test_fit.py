"""A run from start to end: the same for a seed, also when it is interrupted."""

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data.jsonlines import read_lines
from trimtab.data.tables import LabelledText
from trimtab.training.callbacks import TrainingProgress
from trimtab.training.fit import RunOptions
from trimtab.training.labels import Labels, train_from_labels
from trimtab.training.run_folder import RunFolder

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)
TIMING = ("tokens_per_second", "padding")


class Crash(Exception):
    """The process died."""


def train(run, rows=TRAIN, **changes):
    recipe = quick(**{"epochs": 2.5, "checkpoints": 5, **changes})
    return train_from_labels(tiny_lm("llama"), ["good"], rows, HELD_OUT, recipe, options=RunOptions(run))


def metrics(run):
    rows = [line.row for line in read_lines(run.metrics)]
    return [{name: value for name, value in row.items() if name not in TIMING} for row in rows]


def crash_after(monkeypatch, batches):
    """Raise behind the loss of that many batches."""
    left = iter(range(batches))
    whole = Labels.loss

    def loss(self, *arguments):
        if torch.is_grad_enabled() and next(left, None) is None:
            raise Crash
        return whole(self, *arguments)

    monkeypatch.setattr(Labels, "loss", loss)


@pytest.mark.parametrize("head", ["q", "v"])
def test_training_is_the_same_for_a_seed(head):
    rows = [LabelledText(f"w{i} w{i + 1}", (float(i % 2),)) for i in range(1, 41)]
    recipe = quick(head=head, rank=4, lora_rank=2, batch_size=8, warmup_steps=1, epochs=1, seed=7)
    first, again = (
        train_from_labels(tiny_lm("qwen2"), ["good"], rows, rows[:8], recipe).network.state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.long
@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("batches", [6, 13])  # in the first epoch of eight steps, and in the second
def test_an_interrupted_run_resumes_and_equals_an_uninterrupted_one_bit_for_bit(head, batches, tmp_path, monkeypatch):
    whole_run, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    whole = train(whole_run, head=head)
    with monkeypatch.context() as patched:
        crash_after(patched, batches)
        with pytest.raises(Crash):
            train(run, head=head)
    assert len(metrics(run)) < len(metrics(whole_run))
    (run.checkpoints / "checkpoint-14").mkdir()  # a save that the crash interrupted
    with run.metrics.open("a") as file:
        file.write('{"step": 1')  # a torn line
    resumed = train(run, head=head)
    found, expected = resumed.network.state_dict(), whole.network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert resumed.card.quality == whole.card.quality
    assert metrics(run) == metrics(whole_run)


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "run")
    first = train(run)
    crash_after(monkeypatch, 0)
    again = train(run)
    assert torch.equal(first.network.head.down, again.network.head.down)


def test_other_data_in_the_same_folder_are_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run)
    flipped = [LabelledText(row.text, (1 - row.labels[0],)) for row in TRAIN]
    with pytest.raises(errors.InvalidData, match=r"other settings \(texts: "):
        train(run, flipped)


def test_training_stops_early_and_returns_the_best_weights(tmp_path):
    """With noise for labels the held-out loss soon rises; the weights of its lowest point are returned."""
    run = RunFolder(tmp_path / "run")
    noisy = [LabelledText(row.text, (float(i % 3 == 0),)) for i, row in enumerate(TRAIN)]
    reward = train(run, noisy, epochs=30, checkpoints=30, patience=2)
    losses = [row["eval_loss"] for row in metrics(run) if "eval_loss" in row]
    assert len(losses) < 30
    assert reward.card.quality["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_a_resumed_run_has_been_patient_before(tmp_path, monkeypatch):
    """It is interrupted after the first of the two worse checkpoints that end it."""
    noisy = [LabelledText(row.text, (float(i % 3 == 0),)) for i, row in enumerate(TRAIN)]
    settings = {"epochs": 30, "checkpoints": 30, "patience": 2}
    whole_run, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    train(whole_run, noisy, **settings)
    *_, before, last = (row["step"] for row in metrics(whole_run) if "eval_loss" in row and not row.get("final"))
    assert before + 2 < last
    with monkeypatch.context() as patched:
        crash_after(patched, before + 2)
        with pytest.raises(Crash):
            train(run, noisy, **settings)
    train(run, noisy, **settings)
    assert metrics(run) == metrics(whole_run)


@pytest.mark.parametrize("checkpoints", [30, 300])  # the second measures after every step
def test_a_run_that_had_stopped_early_stays_stopped(checkpoints, tmp_path, monkeypatch):
    """It is interrupted after training, before its weights are kept."""
    noisy = [LabelledText(row.text, (float(i % 3 == 0),)) for i, row in enumerate(TRAIN)]
    settings = {"epochs": 30, "checkpoints": checkpoints, "patience": 1}
    whole_run, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    whole = train(whole_run, noisy, **settings)
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "keep_final", lambda self, tensors: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            train(run, noisy, **settings)
    resumed = train(run, noisy, **settings)
    (*rows, last), (*whole_rows, whole_last) = metrics(run), metrics(whole_run)
    assert rows == whole_rows
    counts = {"step": None, "epoch": None}  # the Trainer makes one step before it sees to stop
    assert last | counts == whole_last | counts
    found, expected = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_run_reports_the_tensors_that_it_copies_from_another_reward(llama, tmp_path):
    class Heard(TrainingProgress):
        def started(self, copied, tensors):
            self.copied = (copied, tensors)

    tiny_reward(llama, "v", "frozen", attributes=("good",)).save_pretrained(tmp_path / "start")
    heard, recipe = Heard(), quick(trunk="frozen", epochs=1, start=str(tmp_path / "start"))
    train_from_labels(tiny_lm("llama"), ["good"], TRAIN[:20], HELD_OUT, recipe, options=RunOptions(progress=heard))
    assert heard.copied == (2, 5)  # weight and bias of the prefix's reward; of those, up, down and the scale


def test_patience_without_a_run_folder_is_refused():
    with pytest.raises(errors.InvalidSetting, match="patience without a run folder"):
        train(None, patience=1)


def test_damaged_final_weights_are_named(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run, epochs=1)
    run.final.write_bytes(run.final.read_bytes()[:-10])
    with pytest.raises(errors.CorruptCheckpoint, match="remove it to resume from the checkpoints"):
        train(run, epochs=1)
