"""The folder of a run: what it records and what it refuses."""

import json

import pytest

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of 8 steps with checkpoints at 4 and 8."""
    run = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    recipe = quick(epochs=1, checkpoints=2)
    train_from_labels(tiny_lm("llama"), ["good"], good_words(160), good_words(40, 1), recipe, options=RunOptions(run))
    return run


@pytest.mark.parametrize("name", ["reward.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_a_damaged_checkpoint_is_named(name, finished):
    assert finished.resume().name == "checkpoint-8"
    path = finished.checkpoints / "checkpoint-8" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    try:
        with pytest.raises(errors.CorruptCheckpoint, match=r"checkpoint-8.*remove it to resume from the one before"):
            finished.resume()
    finally:
        path.write_bytes(whole)


def test_a_checkpoint_whose_save_was_interrupted_is_removed(finished):
    (finished.checkpoints / "checkpoint-9").mkdir()
    assert finished.resume().name == "checkpoint-8"
    assert not (finished.checkpoints / "checkpoint-9").exists()


def test_metrics_behind_the_newest_checkpoint_are_removed(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim({})
    run.log({"step": 1})
    assert run.resume() is None
    assert run.metrics.read_text() == ""


def test_a_folder_is_claimed_by_one_set_of_settings(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim({"base": "a", "recipe": {"rank": 3}})
    run.claim({"base": "a", "recipe": {"rank": 4}})  # the run has not started
    run.log({"step": 1})
    run.claim({"base": "a", "recipe": {"rank": 4}}, {"command": "another"})
    kept = {"base": "a", "recipe": {"rank": 4}, "about": {"command": "another"}}
    assert json.loads((run.path / "settings.json").read_text()) == kept
    with pytest.raises(errors.InvalidData, match=r"recipe.rank: 4 there, 8 here"):
        run.claim({"base": "a", "recipe": {"rank": 8}})


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(errors.InvalidData, match="empty folder"):
        RunFolder(tmp_path).claim({})


def test_a_damaged_settings_file_is_named(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim({"base": "a"})
    run.log({"step": 1})
    (run.path / "settings.json").write_text("{")
    with pytest.raises(errors.InvalidData, match=r"settings\.json.*remove the folder"):
        run.claim({"base": "a"})
