"""bfloat16, the default of every training command: what computes in it, and what does not."""

import pytest
import torch
from safetensors.torch import load_file

from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
from trimtab.rewards.network import RewardNetwork
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.distil import train_from_teacher
from trimtab.training.draft import train_draft
from trimtab.training.draft_objective import DraftTask
from trimtab.training.draft_settings import DraftSettings
from trimtab.training.fit import RunOptions
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings
from trimtab.training.run_folder import RunFolder
from trimtab.training.teacher import teacher_rewards

TRAIN, HELD_OUT = good_words(320), good_words(80, seed=1)


@pytest.fixture
def formats(monkeypatch):
    """The formats of autocast in which a network was called, in training (True) and in measuring (False)."""
    seen = {True: set(), False: set()}
    whole = RewardNetwork.forward

    def forward(self, *arguments):
        seen[self.training].add(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
        return whole(self, *arguments)

    monkeypatch.setattr(RewardNetwork, "forward", forward)
    return seen


@pytest.mark.parametrize(("head", "trunk"), [("v", "full"), ("q", "ladder")])
def test_a_reward_learns_in_bfloat16_and_its_weights_stay_in_float32(head, trunk, formats):
    recipe = quick(head=head, trunk=trunk, bf16=True)
    reward = train_from_labels(tiny_lm("llama", seed=3), ["good"], TRAIN, HELD_OUT, recipe)
    assert formats[True] == {torch.bfloat16}
    assert torch.bfloat16 in formats[False]
    assert reward.card.quality["accuracy:good"] > 0.95
    assert {weight.dtype for weight in reward.network.parameters()} == {torch.float32}


def test_without_bf16_nothing_is_computed_in_bfloat16(formats):
    train_from_labels(tiny_lm("llama"), ["good"], TRAIN[:40], HELD_OUT, quick(epochs=1))
    assert formats == {True: {False}, False: {False}}


@pytest.mark.parametrize("bf16", [True, False])
def test_kept_states_are_in_the_format_of_training(bf16, tmp_path):
    recipe, options = quick(trunk="ladder", bf16=bf16, keep_states=True, epochs=1), RunOptions(RunFolder(tmp_path))
    train_from_labels(tiny_lm("llama"), ["good"], TRAIN[:40], HELD_OUT, recipe, options=options)
    files = [load_file(path) for path in tmp_path.rglob("*.safetensors")]
    kept = [file["states"] for file in files if "states" in file]
    assert kept
    assert {states.dtype for states in kept} == {torch.bfloat16 if bf16 else torch.float32}


@pytest.mark.parametrize("bf16", [True, False])
def test_a_teacher_scores_in_the_format_of_training(bf16, tmp_path, monkeypatch):
    """Adapters are merged for speed, but not before a teacher computes in bfloat16."""
    lm, merged, whole = tiny_lm("llama"), [], RewardModel.merged
    monkeypatch.setattr(RewardModel, "merged", lambda self: merged.append(self) or whole(self))
    teacher, texts = tiny_reward(lm, "v"), [[5, 6, 7], [40, 41]]
    targets = teacher_rewards(teacher, lm, texts, 2, tmp_path / "targets", bf16=bf16)
    found = torch.cat([target.observed[-1] for target in targets])
    expected = torch.cat([teacher.score_ids([ids]).values[0, -1] for ids in texts])
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    assert torch.allclose(found, expected, atol=1e-5) != bf16
    assert len(merged) == (not bf16)


@pytest.mark.long
def test_a_student_learns_in_bfloat16(tmp_path):
    lm = tiny_lm("llama", seed=3)
    teacher = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v", trunk="lora"))
    student = train_from_teacher(
        lm, teacher, TRAIN, HELD_OUT, quick(bf16=True, epochs=8), DistilSettings("orig"), targets=tmp_path / "targets"
    )
    assert student.card.quality["accuracy:good"] > 0.9


@pytest.mark.parametrize("bf16", [True, False])
def test_a_draft_head_learns_and_is_measured_in_the_format_of_training(bf16, tmp_path, monkeypatch):
    seen, whole = set(), DraftTask.guesses

    def guesses(self, *arguments):
        seen.add((self.training, torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")))
        return whole(self, *arguments)

    monkeypatch.setattr(DraftTask, "guesses", guesses)
    small = {"tokens": 64, "taps": 2, "width": 16, "heads": 2, "top_k": 6, "new_tokens": 8, "max_tokens": 12}
    settings = DraftSettings(**small, epochs=1, checkpoints=1, bf16=bf16)
    prompts = [[4 + number, 5 + number] for number in range(24)]
    draft = train_draft(tiny_lm("llama"), prompts, (), settings, RunOptions(RunFolder(tmp_path / "run")))
    expected = torch.bfloat16 if bf16 else False
    assert seen == {(True, expected), (False, expected)}
    assert {weight.dtype for weight in draft.head.parameters()} == {torch.float32}


def test_a_reward_scores_in_float32_behind_training_in_bfloat16(formats):
    reward = train_from_labels(tiny_lm("llama"), ["good"], TRAIN[:40], HELD_OUT, quick(bf16=True, epochs=1))
    formats[True].clear()
    formats[False].clear()
    reward.score(["w1 w2"])
    assert formats[True] | formats[False] == {False}
