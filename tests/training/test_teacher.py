"""A teacher's rewards of training texts, and the folder that keeps them."""

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.training.distil import train_from_teacher
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings
from trimtab.training.teacher import teacher_rewards

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


@pytest.fixture(scope="module")
def teacher(lm):
    return train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v", epochs=1))


def test_a_teachers_rewards_are_computed_once(lm, teacher, tmp_path, monkeypatch):
    def distil(target, texts=TRAIN):
        settings = DistilSettings(target, candidates=4)
        return train_from_teacher(lm, teacher, texts, HELD_OUT, quick(epochs=1), settings, targets=tmp_path / "kept")

    first = distil("candidates")
    with monkeypatch.context() as patched:
        patched.setattr("trimtab.training.teacher._score_shard", lambda *_: pytest.fail("asked the teacher again"))
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


def test_a_teachers_rewards_equal_those_of_separate_texts(lm, teacher, tmp_path):
    """Rewards against whole texts scored one by one, candidates against the base's logits."""
    texts = [[5, 6, 7, 40], [9, 10], [35, 36, 37]]
    targets = teacher_rewards(teacher, lm, texts, 3, tmp_path / "targets", bf16=False)
    for ids, target in zip(texts, targets, strict=True):
        for place in range(1, len(ids)):
            logits = lm.model(torch.tensor([ids[:place]])).logits[0, -1]
            candidates = target.candidates[place].tolist()
            assert candidates == logits.topk(3).indices.tolist()
            for column, candidate in enumerate([*candidates, ids[place]]):
                found = target.rewards[place, column] if column < 3 else target.observed[place]
                expected = teacher.score_ids([[*ids[:place], candidate]]).values[0, -1]
                assert torch.allclose(found, expected, atol=1e-5)


def test_a_folder_with_other_files_is_refused(lm, teacher, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(errors.InvalidData, match="expected a new or empty folder"):
        teacher_rewards(teacher, lm, [[5, 6]], 0, tmp_path, bf16=False)
