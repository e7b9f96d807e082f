"""Teachers that read texts: a student of another tokenizer learns from a V-head and from a classifier."""

import pytest
import torch

from byte_lm import byte_lm
from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data.tables import LabelledText
from trimtab.judges.text_judges import TextJudge
from trimtab.training.distil import train_from_teacher
from trimtab.training.distillation import Distillation
from trimtab.training.fit import RunOptions
from trimtab.training.recipe import DistilSettings
from trimtab.training.teacher import teacher_rewards
from trimtab.training.text_teacher import ClassifierTeacher, RewardTeacher, TextTeacher

TRAIN, HELD_OUT = good_words(120), good_words(40, seed=1)
SETTINGS = DistilSettings("candidates", candidates=4, positions=2)


def share_of_good(texts):
    """The share of words w1 … w9 among all words; a word may be cut at its end."""
    return [sum(len(word) < 3 for word in text.split()) / max(len(text.split()), 1) for text in texts]


@pytest.fixture(scope="module")
def judge():
    return TextJudge("counts", share_of_good, about={"label": "good", "library": "counting 1"})


@pytest.fixture(scope="module")
def base():
    return tiny_lm("llama", seed=3)


def test_a_student_learns_from_a_classifier(base, judge, tmp_path):
    options, recipe = RunOptions(name="mine"), quick(regulariser=0.1, trunk="ladder")
    teacher = ClassifierTeacher(judge)
    student = train_from_teacher(base, teacher, TRAIN, HELD_OUT, recipe, SETTINGS, options, tmp_path / "targets")
    assert student.attributes == ("good",)
    assert student.card.clamp == (0.0, 1.0)
    assert student.card.quality["auc:good"] > 0.95
    facts = student.card.provenance
    assert facts["teacher"] == "counts"
    assert facts["teachers_of_texts"]["counts"]["library"] == "counting 1"
    assert facts["texts_changed_by_the_tokenizer"] == 0


def test_a_reward_of_another_tokenizer_teaches_a_student(base):
    """What it learns is in `test_text_targets`; here the card says from whom."""
    teacher = tiny_reward(byte_lm("gpt2", merges=[("w", "1"), ("w", "3")]), "v", attributes=("good",))
    student = train_from_teacher(base, teacher, TRAIN[:20], HELD_OUT[:20], quick(epochs=1), SETTINGS)
    facts = student.card.provenance
    assert student.card.tokenizer_fingerprint == base.codec.fingerprint != teacher.card.tokenizer_fingerprint
    assert facts["teacher_weights"] == teacher.fingerprint
    assert facts["teachers_of_texts"]["tiny-v"]["tokenizer_fingerprint"] == teacher.base.codec.fingerprint
    assert facts["prefixes_and_candidates_without_text"] >= 0


def test_a_q_head_of_another_tokenizer_is_refused(base):
    teacher = tiny_reward(byte_lm("llama", merges=[]), "q")
    with pytest.raises(errors.InvalidSetting, match="expected a reward with a V-head"):
        train_from_teacher(base, teacher, TRAIN, HELD_OUT, quick(), SETTINGS)


def test_texts_that_the_tokenizer_changes_are_left_out_and_counted(base, judge):
    """An unknown word becomes <unk>, which has no text."""
    rows = [*TRAIN[:40], LabelledText("w1 house"), LabelledText("w2 mouse")]
    student = train_from_teacher(base, ClassifierTeacher(judge), rows, HELD_OUT, quick(epochs=1), SETTINGS)
    assert student.card.provenance["texts"] == 40
    assert student.card.provenance["texts_changed_by_the_tokenizer"] == 2
    with pytest.raises(errors.InvalidData, match="got 2 texts, none of which the tokenizer of tiny-llama gives back"):
        train_from_teacher(base, ClassifierTeacher(judge), rows[-2:], HELD_OUT, quick(epochs=1), SETTINGS)


def test_the_loss_leaves_out_what_the_teacher_could_not_score(tmp_path):
    """The loss is that of the scored tokens, one by one."""
    base = byte_lm("llama", merges=[], seed=4)
    teacher = RewardTeacher(tiny_reward(byte_lm("gpt2", merges=[("é", "x")]), "v"))
    student = tiny_reward(base, "q", seed=1)
    ids = base.codec.encode_text("aé")
    (target,) = teacher_rewards(teacher, base, [ids], 6, tmp_path / "targets", bf16=False)
    assert target.known.tolist() == [True, False, True]
    assert not target.scored.all()
    assert target.scored.any()
    objective = Distillation("candidates", base.pad_token_id)
    batch = objective.collate([{"input_ids": ids, "target": target}])
    loss = objective.loss(student.network(batch["ids"], batch["mask"]), student.network.head, batch)
    squares = []
    for place in range(3):
        rewards = {ids[place]: target.observed[place]} if target.known[place] else {}
        asked = target.scored[place]
        behind = zip(target.candidates[place, asked].tolist(), target.rewards[place, asked], strict=True)
        for token, wanted in [*rewards.items(), *behind]:
            found = student.score_ids([[*ids[:place], token]]).values[0, -1]
            squares.append(float((found.double() - wanted.double()).square().mean()))
    assert loss.items == len(squares)
    assert float(loss.mean) == pytest.approx(sum(squares) / len(squares), rel=1e-4)


def test_two_teachers_of_texts_make_one_student(base, judge):
    bad = TextJudge("counts bad", lambda texts: [1 - each for each in share_of_good(texts)], about={"label": "bad"})
    teachers = [ClassifierTeacher(judge), ClassifierTeacher(bad)]
    bare = [LabelledText(row.text) for row in HELD_OUT[:20]]
    student = train_from_teacher(base, teachers, TRAIN[:20], bare, quick(epochs=1), SETTINGS)
    assert student.attributes == ("good", "bad")


def test_a_classifier_that_is_avoided_teaches_its_reverse(judge):
    avoided = TextJudge("counts", share_of_good, avoid=True)
    assert torch.allclose(
        ClassifierTeacher(avoided).score(["w1 w31", "w1"]), 1 - ClassifierTeacher(judge).score(["w1 w31", "w1"])
    )
    assert ClassifierTeacher(avoided, "bad").attributes == ("bad",)
    assert ClassifierTeacher(judge).describe() != ClassifierTeacher(avoided).describe()


@pytest.mark.parametrize("scores", [[0.5], ["high", "low"], [None, 0.5]])
def test_a_classifier_that_does_not_return_numbers_is_refused(scores):
    with pytest.raises(errors.InvalidData):
        ClassifierTeacher(TextJudge("odd", lambda texts: scores)).score(["a", "b"])


def test_both_teachers_keep_the_protocol(judge):
    reward = tiny_reward(byte_lm("llama", merges=[]), "v")
    assert isinstance(ClassifierTeacher(judge), TextTeacher)
    assert isinstance(RewardTeacher(reward), TextTeacher)
    assert not isinstance(reward, TextTeacher)
