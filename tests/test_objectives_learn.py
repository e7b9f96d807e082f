"""Every objective, trained on a tiny model, tells unseen texts apart; and leaves the base as it was."""

import pytest
import torch

from good_words import good_pairs, good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.data import LabelledText
from trimtab.training.distil import train_from_teacher
from trimtab.training.fit import Fit
from trimtab.training.labels import train_from_labels
from trimtab.training.pairs import train_from_pairs
from trimtab.training.recipe import DistilSettings, LabelSettings, PairSettings

TRAIN, HELD_OUT = good_words(320), good_words(80, seed=1)
GOOD, BAD = "w2 w3 w4", "w32 w33 w34"


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama", seed=3)


@pytest.fixture(scope="module")
def teacher(lm):
    return train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v"), options=Fit(name="teacher"))


@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("trunk", ["frozen", "lora", "full"])
@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_labels(head, trunk, loss):
    lm = tiny_lm("llama", seed=3)
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    settings = LabelSettings(loss)
    reward = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head=head, trunk=trunk), settings)
    quality = reward.card.quality
    assert quality["accuracy:good"] > (0.75 if trunk == "frozen" else 0.95)
    assert quality["texts"] == 80
    assert list(quality["accuracy_by_prefix:good"]) == [f"{tenth}0%" for tenth in range(1, 11)]
    assert sum(row["texts"] for row in quality["calibration:good"]) == 80
    assert 0 <= quality["top1_flip"] <= 1
    assert reward.card.provenance["recipe"]["head"] == head
    scores = reward.score([GOOD, BAD])[:, 0].tolist()
    assert scores[0] > scores[1]
    assert loss == "squared" or all(0 < score < 1 for score in scores)
    after = lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("prefixes", [False, True])
def test_pairs(lm, head, prefixes):
    recipe = quick(head=head, epochs=8)
    reward = train_from_pairs(lm, "kind", good_pairs(160), good_pairs(40, 1), recipe, PairSettings(prefixes))
    assert reward.card.quality["accuracy:kind"] > 0.95
    scores = reward.score([GOOD, BAD])[:, 0].tolist()
    assert scores[0] > scores[1]
    low, high = reward.card.clamp
    assert low < high
    assert (low, high) != (0, 1)


@pytest.mark.parametrize("target", ["orig", "delta", "candidates"])
def test_distillation(lm, teacher, target):
    settings = DistilSettings(target, candidates=6)
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.1, epochs=6), settings)
    quality = student.card.quality
    assert quality["auc:good"] > (0.7 if target == "delta" else 0.95)  # what a first word adds is no difference
    assert student.attributes == ("good",)
    assert (student.card.clamp is None) == (target == "delta")
    assert student.card.baseline == (target != "delta")
    assert ("accuracy:good" in quality) == (target != "delta")
    if target == "candidates":
        assert student.card.provenance["objective"] == "distil, candidates of 6"


def test_a_student_of_candidates_ranks_them_as_its_teacher_does(lm, teacher):
    """The point of it: after a good and a bad text, w1 … w9 score above w31 … w39, by about what the teacher says."""
    student = train_from_teacher(
        lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.0, epochs=6), DistilSettings("candidates", 30)
    )
    asked = torch.tensor([[5, 6, 7, 8, 35, 36, 37, 38]] * 2)  # w1 … w4, w31 … w34
    answers = {}
    for reward in (teacher, student):
        state = reward.start()
        prompts = lm.batch([[5, 6], [36, 37]])
        state.prefill(prompts.ids, prompts.mask)
        answers[reward] = state.rewards(asked)[..., 0]
    spread = answers[teacher][:, :4].mean() - answers[teacher][:, 4:].mean()
    learnt = answers[student][:, :4].mean() - answers[student][:, 4:].mean()
    assert spread > 0.05
    assert learnt > 0.5 * spread


def test_without_labels_nothing_is_measured_against_them(lm, teacher):
    bare = [type(row)(row.text) for row in HELD_OUT]
    student = train_from_teacher(lm, teacher, TRAIN[:40], bare, quick(epochs=1), DistilSettings("orig"))
    assert not any(":" in name for name in student.card.quality)
    assert student.card.quality["texts"] == 80


def test_a_v_head_student_learns_orig_alone(lm, teacher):
    recipe = quick(head="v", layers=2)
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, recipe, DistilSettings("orig"))
    assert student.card.quality["accuracy:good"] > 0.9
    with pytest.raises(errors.InvalidSetting, match="Q-head"):
        train_from_teacher(lm, teacher, TRAIN, HELD_OUT, recipe, DistilSettings("candidates"))


def test_a_student_may_start_from_its_teacher(lm, teacher, tmp_path):
    """Adapters and baseline are taken over: the student is good before its first step has any effect."""
    teacher.save_pretrained(tmp_path / "teacher")
    recipe = quick(start=str(tmp_path / "teacher"), learning_rate=1e-9, epochs=1)
    student = train_from_teacher(lm, teacher, TRAIN[:20], HELD_OUT, recipe, DistilSettings("orig"))
    assert student.card.quality["auc:good"] > 0.95
    with pytest.raises(errors.InvalidSetting, match="shares"):
        train_from_teacher(
            lm,
            teacher,
            TRAIN[:20],
            HELD_OUT,
            quick(start=str(tmp_path / "teacher"), lora_rank=3, rank=3, trunk="full"),
            DistilSettings("delta"),
        )


def test_an_empty_table_is_refused(lm):
    with pytest.raises(errors.InvalidData, match="at least one"):
        train_from_labels(lm, ["good"], TRAIN, [], quick())


def test_labels_out_of_range_are_refused(lm):
    for wrong in ((7.0,), (float("nan"),), (1.0, 0.0)):
        with pytest.raises(errors.InvalidData, match=r"a number in \[0, 1\]"):
            train_from_labels(lm, ["good"], [LabelledText("w1 w2", wrong)], HELD_OUT, quick())


def test_differences_add_up_to_a_texts_reward(lm, teacher):
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(epochs=1), DistilSettings("delta"))
    each = student.score_ids([lm.tokenizer("w1 w2 w3")["input_ids"]]).values[0]
    assert torch.allclose(student.score_prefixes("w1 w2 w3")[0], each.cumsum(0), atol=1e-6)
    with pytest.raises(errors.InvalidSetting, match="of differences"):
        train_from_teacher(lm, student, TRAIN, HELD_OUT, quick(), DistilSettings("orig"))


@pytest.mark.parametrize("changes", [{"seed": -1}, {"patience": 1}, {"rank": 33}])
def test_settings_that_cannot_be_are_refused(lm, changes):
    with pytest.raises(errors.InvalidSetting, match="expected"):
        train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(**changes))
