"""Reward matrices against separate texts, and their ranks against matrices of known rank."""

import numpy as np
import pytest
import torch

from tiny import VOCABULARY, tiny_reward
from trimtab import errors
from trimtab.rewards.spectrum import Spectrum, draw_cells, reward_matrix, spectra, spectrum
from trimtab.testing import separate_rewards

PREFIXES = [[10, 20, 30], [5], [40, 41, 42, 43], [50, 51], [7, 8, 9]]


def test_the_matrix_equals_the_rewards_of_separate_texts(reward):
    columns = np.array([3, 17, 29, 60])
    found = reward_matrix(reward, PREFIXES, columns, "calm")
    assert found.dtype == np.float64
    for row, prefix in zip(found, PREFIXES, strict=True):
        expected = separate_rewards(reward, prefix, columns.tolist())[:, 1]
        assert np.allclose(row, expected.double().numpy(), atol=1e-4)


def test_the_rank_of_a_q_head_is_its_r_plus_one_for_the_baseline(llama):
    """The prefix's baseline is a column of ones times a vector: rank 1 beside the marginal's R."""
    generator = torch.Generator().manual_seed(0)
    prefixes = torch.randint(4, VOCABULARY, (40, 5), generator=generator).tolist()
    for rank in (1, 4, 9):
        matrix = reward_matrix(tiny_reward(llama, "q", rank=rank), prefixes, np.arange(VOCABULARY))
        assert spectrum(matrix).numerical_rank == rank + 1
        without = tiny_reward(llama, "q", rank=rank, baseline=False)
        assert spectrum(reward_matrix(without, prefixes, np.arange(VOCABULARY))).numerical_rank == rank


def test_ranks_of_a_known_matrix():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    known = spectrum(rotation @ np.diag([2.0, 2.0, 2.0, 2.0, 0, 0]) @ rotation.T)
    assert known.numerical_rank == 4
    assert known.effective_rank == pytest.approx(4)
    lopsided = Spectrum(10, 20, np.array([1.0, 1e-9]))
    assert lopsided.threshold == pytest.approx(20 * 2.0**-23)
    assert lopsided.numerical_rank == 1
    assert lopsided.effective_rank == pytest.approx(1, abs=1e-6)


def test_each_spectrum_uses_the_first_rows_of_the_matrix():
    matrix = np.random.default_rng(0).normal(size=(8, 30))
    assert [s.numerical_rank for s in spectra(matrix, [2, 4, 8])] == [2, 4, 8]
    with pytest.raises(errors.InvalidSetting, match="1 to 8"):
        spectra(matrix, [9])


def test_rows_and_columns_depend_on_the_seed_only():
    texts = [[i] * (i + 1) for i in range(20)]
    rows, columns = draw_cells(texts, 50, 10, 7, seed=1)
    again, same = draw_cells(texts, 50, 10, 7, seed=1)
    assert rows == again
    assert (columns == same).all()
    assert len(set(columns.tolist())) == 7
    assert all(1 <= len(row) <= row[0] + 1 for row in rows)
    assert draw_cells(texts, 50, 10, None, seed=1)[1].tolist() == list(range(50))
    with pytest.raises(errors.InvalidSetting, match="21 prefixes"):
        draw_cells(texts, 50, 21, None, seed=1)
