"""The rewards of several teachers as those of one."""

import torch

from trimtab.training.target import Target, side_by_side


def target(candidates, reward):
    ids = torch.tensor([candidates])
    return Target(
        torch.full((2, 1), reward),
        torch.tensor([True, True]),
        torch.tensor([1]),
        ids,
        torch.full((*ids.shape, 1), reward),
        torch.ones_like(ids, dtype=torch.bool),
    )


def test_attributes_stand_side_by_side():
    found = side_by_side([target([7, 8, 9], 0.25), target([7, 8, 9], 0.5)])
    assert found.rewards[0].tolist() == [[0.25, 0.5]] * 3
    assert found.observed.tolist() == [[0.25, 0.5]] * 2
    assert found.scored.all()


def test_candidates_that_only_one_teacher_has_in_a_place_count_as_not_scored():
    """Near ties are broken the other way about where one teacher computes in another order."""
    found = side_by_side([target([7, 8, 9], 0.25), target([7, 9, 8], 0.5)])
    assert found.candidates.tolist() == [[7, 8, 9]]
    assert found.scored.tolist() == [[True, False, False]]
