"""A teacher's rewards of training texts, and the folder that keeps them."""

import json

import pytest
import torch

from full_disk import files_of_at_most
from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
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


@pytest.mark.long
def test_a_teachers_rewards_are_computed_once(lm, teacher, tmp_path, monkeypatch):
    def distil(target, texts=TRAIN):
        settings = DistilSettings(target, candidates=4)
        return train_from_teacher(lm, teacher, texts, HELD_OUT, quick(epochs=1), settings, targets=tmp_path / "kept")

    first = distil("candidates")
    with monkeypatch.context() as patched:
        patched.setattr("trimtab.training.teacher.targets_of", lambda *_: pytest.fail("asked the teacher again"))
        again = distil("candidates")
        distil("orig")
        distil("delta")
    assert torch.equal(first.network.head.down, again.network.head.down)
    with pytest.raises(errors.InvalidData, match="other texts"):
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
        assert target.places.tolist() == list(range(len(ids)))
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


@pytest.mark.parametrize("head", ["q", "v"])
def test_the_first_place_has_the_candidates_after_bos(lm, head, tmp_path):
    """The base is read behind BOS alone, the teacher scores each candidate as a text of one token."""
    teacher = tiny_reward(lm, head)
    targets = teacher_rewards(teacher, lm, [[5, 6, 7], [9], [1, 5]], 3, tmp_path / "targets", bf16=False)
    expected = lm.model(torch.tensor([[lm.bos_token_id]])).logits[0, -1].topk(3).indices.tolist()
    for target, first in zip(targets[:2], (5, 9), strict=True):
        assert target.candidates[0].tolist() == expected
        for column, token in enumerate([*expected, first]):
            found = target.rewards[0, column] if column < 3 else target.observed[0]
            assert torch.allclose(found, teacher.score_ids([[token]]).values[0, -1], atol=1e-5)
        assert target.known.all()
    assert targets[2].known.tolist() == [False, True]  # a text that starts with BOS has no place before it
    assert targets[2].places.tolist() == [1]


def test_a_teacher_without_bos_teaches_no_candidates_of_the_first_place(lm, tmp_path):
    for head, knows_first in (("q", False), ("v", True)):
        teacher = tiny_reward(lm, head, bos_token_id=None)
        (target,) = teacher_rewards(teacher, lm, [[5, 6, 7]], 2, tmp_path / head, bf16=False)
        assert target.known.tolist() == [knows_first, True, True]
        assert target.places.tolist() == [1, 2]


def test_positions_are_drawn_from_all_places_and_scored_alike(lm, teacher, tmp_path):
    """Each text has its own places; their candidates have the rewards that they have when all places are scored."""
    texts = [[5, 6, 7, 40, 9, 11], [9, 10], [35, 36, 37, 38, 41]]
    every = teacher_rewards(teacher, lm, texts, 3, tmp_path / "all", bf16=False)
    some = teacher_rewards(teacher, lm, texts, 3, tmp_path / "some", bf16=False, positions=3)
    for ids, target, drawn in zip(texts, every, some, strict=True):
        places = drawn.places.tolist()
        assert places == sorted(set(places))
        assert len(places) == min(3, len(ids))
        assert torch.equal(drawn.candidates, target.candidates[places])
        assert torch.allclose(drawn.rewards, target.rewards[places], atol=1e-6)
        assert torch.allclose(drawn.observed, target.observed, atol=1e-6)
    assert some[0].places.tolist() != some[2].places.tolist()
    alone = teacher_rewards(teacher, lm, texts[2:], 3, tmp_path / "alone", bf16=False, positions=3)
    assert torch.equal(alone[0].places, some[2].places)


def test_a_folder_of_another_layout_is_refused(lm, teacher, tmp_path):
    folder = tmp_path / "targets"
    teacher_rewards(teacher, lm, [[5, 6]], 0, folder, bf16=False)
    record = json.loads((folder / "targets.json").read_text())
    del record["layout"]
    (folder / "targets.json").write_text(json.dumps(record))
    with pytest.raises(errors.InvalidData, match="layout: None there, 4 here"):
        teacher_rewards(teacher, lm, [[5, 6]], 0, folder, bf16=False)


def test_a_teacher_whose_rewards_are_not_finite_is_refused(lm, tmp_path):
    teacher = tiny_reward(lm, "v")
    teacher.network.head.value.bias.data[1] = float("inf")
    with pytest.raises(errors.NonFiniteReward, match="'tiny-v' gives a reward that is not finite"):
        teacher_rewards(teacher, lm, [[5, 6]], 0, tmp_path / "targets", bf16=False)
    assert not list((tmp_path / "targets").glob("*.safetensors"))


def test_a_full_disk_leaves_no_file_of_rewards(lm, teacher, tmp_path):
    folder, texts = tmp_path / "targets", [[5, 6, 7]] * 100
    with files_of_at_most(1000), pytest.raises(errors.InvalidOutput, match=r"the teacher's rewards in .*targets"):
        teacher_rewards(teacher, lm, texts, 4, folder, bf16=False)
    assert [path.name for path in folder.iterdir()] == ["targets.json"]
    assert len(teacher_rewards(teacher, lm, texts, 4, folder, bf16=False)) == 100


def test_rewards_of_an_older_file_are_all_scored(lm, teacher, tmp_path):
    """Files of before teachers of texts do not say which candidates were scored: all were."""
    from trimtab.rewards.weights import read_sealed, save_sealed

    folder = tmp_path / "targets"
    (target,) = teacher_rewards(teacher, lm, [[5, 6, 7]], 2, folder, bf16=False)
    shard = folder / "000000.safetensors"
    parts = read_sealed(shard)
    del parts["scored"]
    save_sealed(parts, shard)
    (again,) = teacher_rewards(teacher, lm, [[5, 6, 7]], 2, folder, bf16=False)
    assert again.scored.all()
    assert torch.equal(again.rewards, target.rewards)


def test_an_unfinished_folder_of_candidates_is_not_filled_without_them(lm, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr("trimtab.training.teacher.SHARD_TEXTS", 2)
    folder, texts = tmp_path / "targets", [[5, 6, 7], [9, 10], [11, 12], [13, 14]]
    first = teacher_rewards(teacher, lm, texts, 3, folder, bf16=False)
    (folder / "000001.safetensors").unlink()  # as a killed run leaves it
    with pytest.raises(errors.InvalidData, match="unfinished rewards of a run with candidates=3; finish that run"):
        teacher_rewards(teacher, lm, texts, 0, folder, bf16=False)
    again = teacher_rewards(teacher, lm, texts, 3, folder, bf16=False)
    assert all(torch.equal(one.rewards, other.rewards) for one, other in zip(first, again, strict=True))
    assert len(teacher_rewards(teacher, lm, texts, 0, folder, bf16=False)) == 4
