"""A run's folder: what it records, how it goes on after a crash, and what it refuses."""

import json

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.jsonlines import read_lines
from trimtab.training import labels
from trimtab.training.batches import LengthGrouped
from trimtab.training.data import LabelledText
from trimtab.training.distil import train_from_teacher
from trimtab.training.fit import Fit
from trimtab.training.labels import Labels, train_from_labels
from trimtab.training.recipe import DistilSettings
from trimtab.training.run import RunFolder
from trimtab.training.teacher import teach

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)
TIMING = ("tokens_per_second", "padding")


class Crash(Exception):
    """The machine went down."""


def train(run, **changes):
    recipe = quick(epochs=2.5, checkpoints=5, **changes)
    return train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, recipe, options=Fit(run))


def metrics(run):
    rows = [line.row for line in read_lines(run.metrics)]
    return [{name: value for name, value in row.items() if name not in TIMING} for row in rows]


def crash_after(monkeypatch, batches):
    """Let the loss of the first so many batches be computed, then raise."""
    left = iter(range(batches))
    whole = Labels.loss

    def loss(self, *arguments):
        if torch.is_grad_enabled() and next(left, None) is None:
            raise Crash
        return whole(self, *arguments)

    monkeypatch.setattr(labels.Labels, "loss", loss)


@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("batches", [6, 13])  # in the first epoch of eight steps, and in the second
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(head, batches, tmp_path, monkeypatch):
    whole_run, run = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    whole = train(whole_run, head=head)
    with monkeypatch.context() as patched:
        crash_after(patched, batches)
        with pytest.raises(Crash):
            train(run, head=head)
    assert len(metrics(run)) < len(metrics(whole_run))
    (run.checkpoints / "checkpoint-14").mkdir()  # a save that the crash interrupted
    with run.metrics.open("a") as file:
        file.write('{"step": 1')  # and a torn line
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


def test_metrics_are_recorded(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run)
    rows = [line.row for line in read_lines(run.metrics)]
    logged = [row for row in rows if "loss" in row]
    measured = [row for row in rows if "eval_loss" in row]
    assert logged
    assert all(row["tokens_per_second"] > 0 and 0 <= row["padding"] < 0.15 for row in logged)
    assert [row["step"] for row in measured] == [4, 8, 12, 16, 20, 20]
    expected = {"accuracy:good", "auc:good", "spearman:good", "accuracy_by_prefix:good", "top1_flip", "reward_range"}
    assert all(expected <= row.keys() for row in measured)


def test_one_checkpoint_is_one(tmp_path):
    run = RunFolder(tmp_path / "run")
    train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, quick(epochs=1, checkpoints=1), options=Fit(run))
    measured = [row["step"] for row in metrics(run) if "eval_loss" in row]
    assert measured == [8, 8]
    assert [row.get("final") for row in metrics(run) if "eval_loss" in row] == [None, True]


def test_a_run_of_one_step_learns_something(tmp_path):
    run = RunFolder(tmp_path / "run")
    recipe = quick(batch_size=500, warmup_steps=100, epochs=1)
    reward = train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, recipe, options=Fit(run))
    assert reward.network.head.down.abs().max() > 0


def test_other_data_under_the_same_name_are_another_run(tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run)
    flipped = [LabelledText(row.text, (1 - row.labels[0],)) for row in TRAIN]
    recipe = quick(epochs=2.5, checkpoints=5)
    with pytest.raises(errors.InvalidData, match=r"other settings \(texts: "):
        train_from_labels(tiny_lm("llama"), ["good"], flipped, HELD_OUT, recipe, options=Fit(run))


def test_a_run_that_diverges_says_so_and_keeps_no_such_checkpoint(tmp_path):
    run = RunFolder(tmp_path / "run")
    recipe = quick(head="v", learning_rate=1e30, warmup_steps=0)
    with pytest.raises(errors.Diverged, match="lower the learning rate"):
        train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, recipe, options=Fit(run))
    assert run.resume() is None


def test_batches_hold_texts_of_similar_length():
    lengths = [1 + (7 * i) % 61 for i in range(1003)]
    sampler = LengthGrouped(lengths, 10, seed=0)
    order = list(sampler)
    assert sorted(order) == list(range(1003))
    assert order == list(sampler)
    batches = [[lengths[i] for i in order[start : start + 10]] for start in range(0, 1000, 10)]
    padding = 1 - sum(map(sum, batches)) / sum(10 * max(batch) for batch in batches)
    assert padding < 0.03
    longest = [max(batch) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_training_stops_early_and_keeps_the_best(tmp_path):
    """Noise for labels: held-out loss soon rises, and the weights of its lowest point are what is returned."""
    run = RunFolder(tmp_path / "run")
    noisy = [LabelledText(row.text, (float(i % 3 == 0),)) for i, row in enumerate(TRAIN)]
    recipe = quick(epochs=30, checkpoints=30, patience=2)
    reward = train_from_labels(tiny_lm("llama"), ["good"], noisy, HELD_OUT, recipe, options=Fit(run))
    losses = [row["eval_loss"] for row in metrics(run) if "eval_loss" in row]
    assert len(losses) < 30
    assert reward.card.quality["loss"] == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.parametrize("name", ["reward.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_a_damaged_checkpoint_is_named(name, tmp_path):
    run = RunFolder(tmp_path / "run")
    train(run)
    run.final.write_bytes(run.final.read_bytes()[:-10])
    with pytest.raises(errors.CorruptCheckpoint, match="remove it to go on from the checkpoints"):
        train(run)
    run.final.unlink()
    path = max(run.checkpoints.iterdir(), key=lambda folder: int(folder.name.split("-")[1])) / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(errors.CorruptCheckpoint, match=r"checkpoint-20.*remove it to go on from the one before"):
        train(run)


def test_a_folder_is_claimed_by_one_set_of_settings(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim({"base": "a", "recipe": {"rank": 3}})
    run.claim({"base": "a", "recipe": {"rank": 4}})  # nothing has been done there yet
    run.log({"step": 1})
    run.claim({"base": "a", "recipe": {"rank": 4}}, {"command": "another"})
    kept = {"base": "a", "recipe": {"rank": 4}, "about": {"command": "another"}}
    assert json.loads((run.path / "settings.json").read_text()) == kept
    with pytest.raises(errors.InvalidData, match=r"recipe.rank: 4 there, 8 here"):
        run.claim({"base": "a", "recipe": {"rank": 8}})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(errors.InvalidData, match="empty folder"):
        RunFolder(tmp_path / "other").claim({})


def test_a_teachers_rewards_are_computed_once(tmp_path, monkeypatch):
    lm = tiny_lm("llama")
    teacher = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v", epochs=1))

    def distil(target, texts=TRAIN):
        settings = DistilSettings(target, candidates=4)
        return train_from_teacher(lm, teacher, texts, HELD_OUT, quick(epochs=1), settings, targets=tmp_path / "kept")

    first = distil("candidates")
    with monkeypatch.context() as patched:
        patched.setattr("trimtab.training.teacher._teach_some", lambda *_: pytest.fail("asked the teacher again"))
        again = distil("candidates")
        distil("orig")
        distil("delta")
    assert torch.equal(first.network.head.down, again.network.head.down)
    with pytest.raises(errors.InvalidData, match=r"texts: .* there"):
        distil("orig", TRAIN[1:])
    shard = tmp_path / "kept" / "000000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(errors.InvalidData, match="remove the file"):
        distil("orig")


def test_a_teachers_rewards_are_those_of_separate_texts(tmp_path):
    """Rewards against whole texts scored one by one, candidates against the base's logits."""
    lm = tiny_lm("llama")
    teacher = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v", epochs=1))
    texts = [[5, 6, 7, 40], [9, 10], [35, 36, 37]]
    for ids, target in zip(texts, teach(teacher, lm, texts, 3, tmp_path / "targets", bf16=False), strict=True):
        for place in range(1, len(ids)):
            logits = lm.model(torch.tensor([ids[:place]])).logits[0, -1]
            candidates = target.candidates[place].tolist()
            assert candidates == logits.topk(3).indices.tolist()
            for column, candidate in enumerate([*candidates, ids[place]]):
                said = target.rewards[place, column] if column < 3 else target.observed[place]
                expected = teacher.score_ids([[*ids[:place], candidate]]).values[0, -1]
                assert torch.allclose(said, expected, atol=1e-5)
