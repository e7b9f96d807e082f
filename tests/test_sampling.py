import pytest
import torch

from trimtab.engines.sampling import choose, gumbel_noise, resolve_seeds, row_keys
from trimtab.engines.settings import Sampling
from trimtab.errors import InvalidSetting

CPU = torch.device("cpu")


def test_draws_follow_the_softmax():
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf])
    rows = 40_000
    keys = row_keys(list(range(rows)), [[1]] * rows, 1, CPU)
    ids = torch.tensor([7, 3, 9, 4]).expand(rows, 4)
    for temperature in (1.0, 0.5):
        columns = choose(logits.expand(rows, 4), ids, temperature, keys, step=5)
        found = torch.bincount(columns, minlength=4) / rows
        torch.testing.assert_close(found, (logits / temperature).softmax(0), atol=0.01, rtol=0)


def test_noise_is_a_standard_gumbel_without_correlation():
    keys = row_keys([0] * 300, [[i] for i in range(300)], 1, CPU)
    noise = gumbel_noise(keys, 2, torch.arange(2000).expand(300, -1))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.std().item() == pytest.approx(1.2825, abs=0.01)
    correlation = torch.corrcoef(noise).fill_diagonal_(0)
    assert correlation.abs().max() < 0.13  # 45,000 pairs of 2,000 draws: about 4.5 standard errors and a margin


def test_noise_belongs_to_the_token_not_to_its_place():
    keys = row_keys([3], [[1, 2]], 1, CPU)
    noise = gumbel_noise(keys, 0, torch.tensor([[5, 6, 7]]))
    assert torch.equal(gumbel_noise(keys, 0, torch.tensor([[7, 5, 6]])), noise[:, [2, 0, 1]])


def test_samples_steps_prompts_and_seeds_have_noise_of_their_own():
    ids = torch.arange(50)[None]
    noises = [
        gumbel_noise(key[None], step, ids) for key in row_keys([0, 0, 1], [[1], [2], [1]], 2, CPU) for step in (0, 1)
    ]
    assert len({tuple(noise[0].tolist()) for noise in noises}) == 12


def test_greedy_takes_the_best():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    assert choose(logits, torch.tensor([[4, 5, 6]]), 0, torch.tensor([0]), 0).tolist() == [1]


@pytest.mark.parametrize(
    "settings", [{"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": -1.0}, {"temperature": float("nan")}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting, match="expected"):
        Sampling(**settings)


def test_seeds_must_be_one_or_one_a_prompt():
    assert resolve_seeds(4, 3) == [4, 4, 4]
    assert resolve_seeds([1, 2], 2) == [1, 2]
    assert len(set(resolve_seeds(None, 5))) == 5
    with pytest.raises(InvalidSetting, match="expected one"):
        resolve_seeds([1], 2)
