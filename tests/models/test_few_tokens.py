"""Linear maps that are quick for a few tokens."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from trimtab.models.few_tokens import ONE_THREAD, FewTokensLinear, few, few_tokens_linear, quicken, unquickened


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 10), nn.Linear(10, 6, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 7, 8])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 1), (1, 3), (5, 7), (0,), (2, 40)])
def test_the_product_is_that_of_float64(shape, outputs, bias, threads):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, 24), torch.randn(outputs, 24)
    added = torch.randn(outputs) if bias else None
    wide = functional.linear(x.double(), weight.double(), None if added is None else added.double())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            found = few_tokens_linear(x, weight, added)
    finally:
        torch.set_num_threads(before)
    assert found.shape == wide.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), wide, rtol=1e-5, atol=1e-5)


def test_views_of_larger_tensors_are_multiplied_as_they_look():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 2, 48)[:, :1, ::2], torch.randn(24, 8).T
    with torch.no_grad():
        torch.testing.assert_close(few_tokens_linear(x, weight), x @ weight.T)


def test_a_few_tokens_take_the_product_of_halves_and_gradients_do_not(maps, monkeypatch):
    calls = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: calls.append(given[0].shape) or bmm(*given))
    quicken(maps)
    with torch.inference_mode():
        maps(torch.randn(ONE_THREAD, 24))
        assert calls == [(2, 5, 24), (2, 3, 10)]
        maps(torch.randn(few() + 1, 24))
    maps(torch.randn(1, 24))
    assert len(calls) == 2
    x = torch.randn(1, 24, requires_grad=True)
    maps(x).sum().backward()
    assert x.grad is not None


def test_the_token_is_turned_and_not_a_column_which_is_read_slowly(monkeypatch):
    strides = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: strides.append(given[1].stride()) or bmm(*given))
    with torch.inference_mode():
        few_tokens_linear(torch.randn(1, 1, 24), torch.randn(8, 24))
    assert strides == [(0, 1, 24)]


def test_only_linear_maps_in_float32_are_quickened_and_weights_stay(maps):
    class Own(nn.Linear):
        pass

    class Packed(nn.Parameter):
        """As a quantizer packs weights: it says float32, and is no matrix of numbers."""

    packed = nn.Linear(4, 4)
    packed.weight = Packed(torch.randn(4, 4))
    model = nn.ModuleList([maps, Own(4, 4), nn.Linear(4, 4).bfloat16(), nn.Linear(4, 4, device="meta"), packed])
    before = dict(model.state_dict())
    quicken(model)
    assert [type(part) for part in maps] == [FewTokensLinear] * 2
    assert [type(part) for part in model[1:]] == [Own, nn.Linear, nn.Linear, nn.Linear]
    assert all(
        tensor is before[name] or tensor.data_ptr() == before[name].data_ptr() for name, tensor in before.items()
    )
    assert isinstance(copy.deepcopy(maps)[0], FewTokensLinear)


def test_a_copy_without_it_shares_the_tensors(maps):
    plain = unquickened(quicken(maps))
    assert [type(part) for part in plain] == [nn.Linear] * 2
    assert [type(part) for part in maps] == [FewTokensLinear] * 2
    assert all(mine is theirs for mine, theirs in zip(plain.parameters(), maps.parameters(), strict=True))
