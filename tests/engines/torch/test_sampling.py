import pytest
import torch

from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch import sampling
from trimtab.engines.torch.sampling import RowSampling, gumbel_noise, row_keys

CPU = torch.device("cpu")


def request(prefix, seed=0, **params):
    return Request(prefix, SamplingParams(seed=seed, **params))


def at_step(requests, step):
    """Return the sampling of rows that have chosen this many tokens."""
    rows = RowSampling.of(requests, CPU)
    rows.steps = torch.full_like(rows.steps, step)
    return rows


def noise_of(keys, step, ids):
    return gumbel_noise(keys, torch.full_like(keys, step), ids)


def test_tokens_follow_the_softmax_at_each_rows_temperature():
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf])
    rows, ids = 40_000, torch.tensor([7, 3, 9, 4])
    requests = [request([1], n=rows, temperature=value) for value in (1.0, 0.5)]
    columns = at_step(requests, 5).choose(logits.expand(2 * rows, 4), ids.expand(2 * rows, 4))
    for of_rows, temperature in zip(columns.split(rows), (1.0, 0.5), strict=True):
        found = torch.bincount(of_rows, minlength=4) / rows
        torch.testing.assert_close(found, (logits / temperature).softmax(0), atol=0.01, rtol=0)


def test_noise_is_standard_gumbel_without_correlation():
    keys = row_keys([request([row]) for row in range(300)], CPU)
    noise = noise_of(keys, 2, torch.arange(2000).expand(300, -1))
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.std().item() == pytest.approx(1.2825, abs=0.01)
    correlation = torch.corrcoef(noise).fill_diagonal_(0)
    assert correlation.abs().max() < 0.13  # 45,000 pairs of 2,000 draws: about 4.5 standard errors and a margin


def test_noise_depends_on_the_token_and_not_on_its_column():
    keys = row_keys([request([1, 2], seed=3)], CPU)
    noise = noise_of(keys, 0, torch.tensor([[5, 6, 7]]))
    assert torch.equal(noise_of(keys, 0, torch.tensor([[7, 5, 6]])), noise[:, [2, 0, 1]])


@pytest.mark.parametrize("near", [1, 7, 300, 1 << 16])
def test_noise_of_many_tokens_is_computed_in_parts(near, monkeypatch):
    keys, ids = row_keys([request([row]) for row in range(3)], CPU), torch.arange(1000).expand(3, -1)
    monkeypatch.setattr(sampling, "NEAR", near)
    noise = noise_of(keys, 4, ids)
    assert torch.equal(noise[:, 500:510], noise_of(keys, 4, ids[:, 500:510]))
    assert torch.equal(noise[1, 999:], noise_of(keys[1:2], 4, torch.tensor([[999]]))[0])


def test_noise_differs_between_samples_steps_prompts_and_seeds():
    ids = torch.arange(50)[None]
    keys = row_keys([request([1], 0, n=2), request([2], 0, n=2), request([1], 1, n=2)], CPU)
    noises = [noise_of(key[None], step, ids) for key in keys for step in (0, 1)]
    assert len({tuple(noise[0].tolist()) for noise in noises}) == 12


def test_keys_are_those_of_every_machine_and_every_release():
    """The same seed gives the same text: nothing else holds this on other machines."""
    assert row_keys([request((1, 2), seed=3, n=2)], CPU).tolist() == [6975744628681194269, 503772316400397897]


def test_rows_at_different_steps_have_the_noise_of_those_steps():
    keys = row_keys([request([1]), request([2])], CPU)
    ids = torch.arange(50).expand(2, -1)
    noise = gumbel_noise(keys, torch.tensor([4, 9]), ids)
    assert torch.equal(noise[:1], noise_of(keys[:1], 4, ids[:1]))
    assert torch.equal(noise[1:], noise_of(keys[1:], 9, ids[1:]))


def test_a_greedy_row_takes_the_best_candidate_also_beside_a_sampled_row():
    logits, ids = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[4, 5, 6]])
    greedy = request([1], temperature=0)
    assert RowSampling.of([greedy], CPU).choose(logits, ids).tolist() == [1]
    for seed in range(30):
        sampling = RowSampling.of([request([1], seed, temperature=50.0), greedy], CPU)
        assert sampling.choose(logits.expand(2, -1), ids.expand(2, -1)).tolist()[1] == 1


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-300])
def test_a_tiny_temperature_is_nearly_greedy(temperature):
    logits = torch.tensor([[-900.0, 5000.0, 4999.9, -torch.inf]] * 3)
    sampling = RowSampling.of([request([1], seed, temperature=temperature) for seed in range(3)], CPU)
    assert sampling.choose(logits, torch.arange(4).expand(3, 4)).tolist() == [1, 1, 1]


def test_selected_and_joined_rows_keep_their_noise_and_their_settings():
    first = at_step([request([1], 5, n=2, temperature=0.7), request([2], 6, top_k=9)], 3)
    second = at_step([request([3], 7, temperature=0, top_p=0.5)], 8)
    joined = first.select([2, 0]).join(second)
    assert [params.seed for params in joined.params] == [6, 5, 7]
    assert joined.steps.tolist() == [3, 3, 8]
    assert joined.keys.tolist() == [first.keys[2], first.keys[0], second.keys[0]]
    assert joined.temperature.tolist() == pytest.approx([1.0, 0.7, 1.0])
    assert joined.greedy.tolist() == [False, False, True]
    assert joined.top_k.tolist() == [9, 20, 20]


@pytest.mark.parametrize("seed", range(3))
def test_candidates_of_mixed_rows_equal_a_sort_in_plain_python(seed):
    """Rows of different top_k and top_p in one batch: the kept tokens of each, found one by one."""
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(seed))
    settings = [(3, None), (8, 0.6), (5, 0.95), (2, 0.01)]
    requests = [request([row], top_k=top_k, top_p=top_p) for row, (top_k, top_p) in enumerate(settings)]
    found = RowSampling.of(requests, CPU).candidates(logits)
    for row, (top_k, top_p) in enumerate(settings):
        kept = found.logits[row].isfinite()
        assert found.ids[row][kept].tolist() == kept_by_hand(logits[row].tolist(), top_k, top_p)


def kept_by_hand(logits, top_k, top_p):
    """Return the top_k best tokens; of those, the fewest that hold top_p of their probability."""
    best = sorted(range(len(logits)), key=lambda token: -logits[token])[:top_k]
    weights = [2.718281828459045 ** logits[token] for token in best]
    held, kept = 0.0, []
    for token, weight in zip(best, weights, strict=True):
        if top_p is not None and kept and held / sum(weights) >= top_p:
            break
        kept.append(token)
        held += weight
    return kept
