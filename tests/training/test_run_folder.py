"""The folder of a run: what it records and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.rewards.card import RewardCard
from trimtab.rewards.network import build_network
from trimtab.training.fit import RunOptions, load_final
from trimtab.training.labels import train_from_labels
from trimtab.training.run_folder import RunFolder, check_named_folder


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


def flip_signs(path):
    """Flip the sign of every number of a safetensors file; returns its bytes before."""
    whole = path.read_bytes()
    content = bytearray(whole)
    for place in range(8 + int.from_bytes(whole[:8], "little") + 3, len(content), 4):
        content[place] ^= 0x80
    path.write_bytes(content)
    return whole


def test_flipped_bits_in_the_weights_of_a_checkpoint_are_found(finished):
    path = finished.checkpoints / "checkpoint-8" / "reward.safetensors"
    whole = flip_signs(path)
    try:
        with pytest.raises(errors.CorruptCheckpoint, match=r"checkpoint-8.*is damaged: its numbers"):
            finished.resume()
    finally:
        path.write_bytes(whole)


def test_flipped_bits_in_the_final_weights_are_found(finished):
    network = build_network(tiny_lm("llama"), finished_card(finished))
    whole = flip_signs(finished.final)
    try:
        with pytest.raises(errors.CorruptCheckpoint, match=r"final\.safetensors'; remove it"):
            load_final(network, finished_card(finished), finished)
    finally:
        finished.final.write_bytes(whole)
    load_final(network, finished_card(finished), finished)


def finished_card(run):
    """The card of the run's reward."""
    values = json.loads((run.path / "settings.json").read_text())["reward"]
    return RewardCard(**{**values, "attributes": tuple(values["attributes"])})


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


def test_a_second_run_in_one_folder_is_refused(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with first.locked(), first.locked():  # one run may ask twice
        first.claim({})
        with pytest.raises(errors.InvalidData, match="another process trains in"), second.locked():
            pass
        with pytest.raises(errors.InvalidData, match="another process trains in"):
            second.check()
    second.check()
    with second.locked():
        pass


def test_a_second_process_in_one_folder_is_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    recipe, options = quick(epochs=1), RunOptions(run)
    other = (
        "import sys; from trimtab.training.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).locked(): print('held', flush=True); sys.stdin.read()"
    )
    held = subprocess.Popen(
        [sys.executable, "-c", other, run.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert held.stdout.readline() == "held\n"
    with pytest.raises(errors.InvalidData, match="another process trains in"):
        train_from_labels(tiny_lm("llama"), ["good"], good_words(20), good_words(4, 1), recipe, options=options)
    held.communicate("")
    assert not run.path.exists()  # it stayed empty
    train_from_labels(tiny_lm("llama"), ["good"], good_words(20), good_words(4, 1), recipe, options=options)
    assert run.final.is_file()


def test_what_a_killed_process_leaves_is_no_other_file(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim({})
    for name in ("final.partial", "metrics.kept", ".settings.json-x1y2"):
        (run.path / name).touch()
    run.claim({})


def test_a_checkpoint_with_an_infinite_norm_of_a_gradient_is_whole(finished):
    path = finished.checkpoints / "checkpoint-8" / "trainer_state.json"
    whole = path.read_text(encoding="utf-8")
    state = json.loads(whole)
    state["log_history"][0]["grad_norm"] = float("inf")
    path.write_text(json.dumps(state), encoding="utf-8")
    assert finished.resume().name == "checkpoint-8"
    path.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("step", [4, "x", None])
def test_a_checkpoint_whose_state_is_of_another_step_is_damaged(finished, step):
    path = finished.checkpoints / "checkpoint-8" / "trainer_state.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(json.dumps({**json.loads(whole), "global_step": step}), encoding="utf-8")
    try:
        with pytest.raises(errors.CorruptCheckpoint, match=r"checkpoint-8.*is of step .*; remove it"):
            finished.resume()
    finally:
        path.write_text(whole, encoding="utf-8")


def test_final_metrics_of_a_run_killed_behind_them_are_removed(finished):
    finished.resume()
    before = finished.metrics.read_text(encoding="utf-8")
    finished.log({"step": 8, "eval_loss": 0.5, "final": True})
    finished.resume()
    assert finished.metrics.read_text(encoding="utf-8") == before
    assert '"step": 8' in before


@pytest.mark.parametrize("kind", ["file", "loop", "device", "under a file", "long"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, kind):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    names = {"device": "/dev/null", "under a file": tmp_path / "file" / "run", "long": tmp_path / ("x" * 300) / "run"}
    path = Path(names.get(kind, tmp_path / kind))
    with pytest.raises(errors.InvalidOutput, match="--targets"):
        check_named_folder(path, "--targets")
    with pytest.raises(errors.InvalidOutput, match="--run"):
        RunFolder(path).check()
