"""Rewards from a teacher: every target, every head, and what a student cannot learn."""

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data.tables import LabelledText
from trimtab.training.distil import train_from_teacher
from trimtab.training.distillation import Distillation
from trimtab.training.fit import RunOptions
from trimtab.training.kept_folder import check_targets
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings
from trimtab.training.teacher import teacher_rewards

TRAIN, HELD_OUT = good_words(320), good_words(80, seed=1)


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama", seed=3)


@pytest.fixture(scope="module")
def teacher(lm):
    return train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v"), options=RunOptions(name="teacher"))


@pytest.mark.long
@pytest.mark.parametrize("target", ["orig", "delta", "candidates"])
def test_a_student_learns_every_target(lm, teacher, target):
    settings = DistilSettings(target, candidates=6)
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.1, epochs=6), settings)
    quality = student.card.quality
    assert quality["auc:good"] > (0.7 if target == "delta" else 0.95)  # delta has no target for the first word
    assert student.attributes == ("good",)
    assert (student.card.clamp is None) == (target == "delta")
    assert student.card.baseline == (target != "delta")
    assert ("accuracy:good" in quality) == (target != "delta")
    if target == "candidates":
        assert student.card.provenance["objective"] == "distil, candidates of 6"


@pytest.mark.long
def test_a_student_of_candidates_ranks_them_as_its_teacher_does(lm, teacher):
    """After a good and after a bad text, w1 … w4 score above w31 … w34, by at least half the teacher's margin."""
    student = train_from_teacher(
        lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.0, epochs=6), DistilSettings("candidates", 30)
    )
    asked = torch.tensor([[5, 6, 7, 8, 35, 36, 37, 38]] * 2)
    margins = {}
    for reward in (teacher, student):
        state = reward.start()
        prompts = lm.batch([[5, 6], [36, 37]])
        state.prefill(prompts.ids, prompts.mask)
        rewards = state.rewards(asked)[..., 0]
        margins[reward] = rewards[:, :4].mean() - rewards[:, 4:].mean()
    assert margins[teacher] > 0.05
    assert margins[student] > 0.5 * margins[teacher]


def test_texts_without_labels_are_not_measured_against_labels(lm, teacher):
    bare = [LabelledText(row.text) for row in HELD_OUT]
    student = train_from_teacher(lm, teacher, TRAIN[:40], bare, quick(epochs=1), DistilSettings("orig"))
    measured = {name.partition(":")[0] for name in student.card.quality if ":" in name}
    assert measured
    assert all(name.startswith("agreement") for name in measured)  # with the teacher
    assert student.card.quality["texts"] == 80


def test_held_out_labels_that_do_not_fit_the_teacher_are_refused(lm, teacher):
    rows = [LabelledText("w1 w2", (1.0, 0.0))]
    with pytest.raises(errors.InvalidData, match="for each of good"):
        train_from_teacher(lm, teacher, TRAIN[:40], rows, quick(epochs=1), DistilSettings("orig"))


def test_a_v_head_student_learns_orig_and_refuses_other_targets(lm, teacher):
    recipe = quick(head="v", layers=2)
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, recipe, DistilSettings("orig"))
    assert student.card.quality["accuracy:good"] > 0.9
    for target in ("delta", "candidates"):
        with pytest.raises(errors.InvalidSetting, match=f"got target='{target}' with head='v'.*expected head=q"):
            train_from_teacher(lm, teacher, TRAIN, HELD_OUT, recipe, DistilSettings(target))


def test_differences_sum_to_the_reward_of_a_text_and_are_refused_as_a_teacher(lm, teacher):
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(epochs=1), DistilSettings("delta"))
    each = student.score_ids([lm.codec.encode_text("w1 w2 w3")]).values[0]
    assert torch.allclose(student.score_prefixes("w1 w2 w3")[0], each.cumsum(0), atol=1e-6)
    with pytest.raises(errors.InvalidSetting, match="of differences"):
        train_from_teacher(lm, student, TRAIN, HELD_OUT, quick(), DistilSettings("orig"))


@pytest.mark.long
def test_a_student_of_two_teachers_has_the_attributes_of_both(lm, teacher, tmp_path):
    """Its second attribute is the reverse of its first, and each agrees with its own teacher."""
    reverse = [LabelledText(row.text, (1 - row.labels[0],)) for row in TRAIN]
    bad = train_from_labels(lm, ["bad"], reverse, reverse[:40], quick(head="v"), options=RunOptions(name="bad teacher"))
    bare = [LabelledText(row.text) for row in HELD_OUT]
    settings, recipe = DistilSettings("candidates", candidates=4, positions=1), quick(regulariser=0.1, epochs=6)
    student = train_from_teacher(lm, [teacher, bad], TRAIN, bare, recipe, settings, targets=tmp_path / "targets")
    assert student.attributes == ("good", "bad")
    assert student.card.provenance["teacher"] == ["teacher", "bad teacher"]
    for attribute, own in (("good", teacher), ("bad", bad)):
        found = torch.stack(
            [student.score(row.text).flatten()[student.attributes.index(attribute)] for row in HELD_OUT]
        )
        wanted = torch.stack([own.score(row.text).flatten()[0] for row in HELD_OUT])
        assert torch.corrcoef(torch.stack([found, wanted]))[0, 1] > 0.9
    assert len([path for path in (tmp_path / "targets").iterdir() if path.name != "held-out"]) == 2
    check_targets(tmp_path / "targets")  # so that a run that was interrupted resumes


def test_teachers_that_do_not_fit_together_are_refused(lm, teacher):
    for teachers, message in (
        ([], "got no teacher"),
        ([teacher, teacher], "expected different attributes"),
        ([tiny_reward(lm, "v"), tiny_reward(lm, "q", attributes=("other",), bos_token_id=None)], "bos_token_id of"),
    ):
        with pytest.raises(errors.InvalidSetting, match=message):
            train_from_teacher(lm, teachers, TRAIN, HELD_OUT, quick(), DistilSettings("orig"))


def test_more_candidates_than_tokens_are_refused(lm, teacher):
    with pytest.raises(errors.InvalidSetting, match="got candidates=65, expected at most 64"):
        train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(), DistilSettings("candidates", 65))


@pytest.mark.long
def test_a_student_learns_from_a_few_positions(lm, teacher):
    settings = DistilSettings("candidates", candidates=6, positions=2)
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.1, epochs=6), settings)
    assert student.card.quality["auc:good"] > 0.95
    assert student.card.provenance["objective"] == "distil, candidates of 6 at 2 positions"
    with pytest.raises(errors.InvalidSetting, match="got positions=0, expected at least 1"):
        DistilSettings(positions=0)


@pytest.mark.parametrize("positions", [None, 1])
@pytest.mark.parametrize("target", ["orig", "delta", "candidates"])
def test_the_loss_equals_a_computation_in_double_precision_place_by_place(lm, target, positions, tmp_path):
    """Two attributes, texts of different lengths; each place from a forward of its own, averaged over attributes."""
    texts, teacher, student = [[5, 6, 7, 40], [9, 35]], tiny_reward(lm, "v"), tiny_reward(lm, "q", seed=1)
    targets = teacher_rewards(teacher, lm, texts, 3, tmp_path / "targets", bf16=False, positions=positions)
    objective = Distillation(target, lm.pad_token_id)
    batch = objective.collate([{"input_ids": i, "target": t} for i, t in zip(texts, targets, strict=True)])
    found = objective.loss(student.network(batch["ids"], batch["mask"]), student.network.head, batch)

    def reward_of(model, ids):
        return model.score_ids([ids]).values[0, -1].double()

    squares = []
    for ids, scored in zip(texts, targets, strict=True):
        for place in range(len(ids)):
            before, whole = ids[:place], ids[: place + 1]
            opened = torch.tensor([[lm.bos_token_id]] if not before else [before])
            is_asked = target == "candidates" and place in scored.places
            asked = lm.model(opened).logits[0, -1].topk(3).indices.tolist() if is_asked else []
            if target == "delta" and not place:
                continue
            wanted = reward_of(teacher, whole) - (reward_of(teacher, before) if target == "delta" else 0)
            pairs = [(reward_of(student, whole), wanted)]
            pairs += [(reward_of(student, [*before, v]), reward_of(teacher, [*before, v])) for v in asked]
            squares += [float((s - t).square().mean()) for s, t in pairs]
    asked_tokens = 3 * (6 if positions is None else 2) if target == "candidates" else 0
    assert len(squares) == (4 if target == "delta" else 6) + asked_tokens
    assert found.mean.item() == pytest.approx(sum(squares) / len(squares), rel=1e-4)


def test_a_place_that_the_teacher_does_not_know_is_left_out(lm, tmp_path):
    teacher, student = tiny_reward(lm, "q", bos_token_id=None), tiny_reward(lm, "q", seed=1)
    targets = teacher_rewards(teacher, lm, [[5, 6, 7]], 2, tmp_path / "targets", bf16=False)
    for target, items in (("orig", 2), ("delta", 1), ("candidates", 2 + 2 * 2)):
        objective = Distillation(target, lm.pad_token_id)
        batch = objective.collate([{"input_ids": [5, 6, 7], "target": targets[0]}])
        loss = objective.loss(student.network(batch["ids"], batch["mask"]), student.network.head, batch)
        assert int(loss.items) == items


def test_a_teacher_that_does_not_know_first_tokens_can_teach_texts_of_one_token(lm):
    teacher = tiny_reward(lm, "q", "frozen", bos_token_id=None, layers=3)
    rows = [LabelledText("w1"), LabelledText("w2")]
    student = train_from_teacher(lm, teacher, rows, rows, quick(epochs=1), DistilSettings("orig"))
    assert torch.isfinite(student.network.head.baseline.bias).all()
