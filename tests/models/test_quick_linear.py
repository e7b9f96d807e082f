"""Linear maps that are quick for a few tokens."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.nn import functional

from trimtab.models import packed_weights
from trimtab.models import quick_linear as module
from trimtab.models.layers import share_tensors
from trimtab.models.packed_weights import can_pack
from trimtab.models.quick_linear import HALVES, QuickLinear, most_by_halves, quick_linear
from trimtab.models.quicken import quicken, unquickened

BOTH = pytest.mark.parametrize("packs", [True, False])
needs_packing = pytest.mark.skipif(not can_pack(torch.ones(2, 2)), reason="oneDNN's packed products are not in torch")


@pytest.fixture(autouse=True)
def _slow_products(monkeypatch):
    monkeypatch.setattr(module, "products_are_slow", lambda: True)


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 10), nn.Linear(10, 6, bias=False)).requires_grad_(False)


@BOTH
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 7, 8])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 1), (1, 3), (5, 7), (0,), (2, 40)])
def test_the_product_is_that_of_float64(shape, outputs, bias, threads, packs):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape, 24), torch.randn(outputs, 24)
    added = torch.randn(outputs) if bias else None
    wide = functional.linear(x.double(), weight.double(), None if added is None else added.double())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            found = quick_linear(x, weight, added, packs)
    finally:
        torch.set_num_threads(before)
    assert found.shape == wide.shape
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), wide, rtol=1e-5, atol=1e-5)


@BOTH
@pytest.mark.parametrize("tokens", [1, 5])
def test_bfloat16_differs_from_float64_by_rounding_alone(tokens, packs):
    torch.manual_seed(0)
    x, weight = torch.randn(tokens, 24).bfloat16(), torch.randn(8, 24).bfloat16()
    with torch.no_grad():
        found = quick_linear(x, weight, packs=packs)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), x.double() @ weight.double().T, rtol=1e-2, atol=1e-2)


@BOTH
def test_views_of_larger_tensors_are_multiplied_as_they_look(packs):
    torch.manual_seed(0)
    for tokens in (1, 5):
        x, weight = torch.randn(tokens, 2, 48)[:, :1, ::2], torch.randn(24, 8).T
        with torch.no_grad():
            torch.testing.assert_close(quick_linear(x, weight, packs=packs), x @ weight.T)


def test_one_token_takes_the_product_of_halves_and_gradients_do_not(maps, monkeypatch):
    calls = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: calls.append(given[0].shape) or bmm(*given))
    quicken(maps)
    with torch.inference_mode():
        maps(torch.randn(HALVES, 24))
        assert calls == [(2, 5, 24), (2, 3, 10)]
        maps(torch.randn(most_by_halves() + 1, 24))
    maps(torch.randn(1, 24))
    assert len(calls) == 2
    x = torch.randn(1, 24, requires_grad=True)
    maps(x).sum().backward()
    assert x.grad is not None


@needs_packing
@torch.no_grad()
def test_more_tokens_take_a_packed_copy_which_all_that_share_the_matrix_use(maps, monkeypatch):
    asked = []
    copy_of = module.packed_copy
    monkeypatch.setattr(module, "packed_copy", lambda weight: asked.append(copy_of(weight)) or asked[-1])
    quicken(maps)
    expected = unquickened(maps)(x := torch.randn(5, 24))
    torch.testing.assert_close(maps(x), expected)
    torch.testing.assert_close(share_tensors(maps)(x), expected)
    assert [id(packed) for packed in asked[:2]] == [id(packed) for packed in asked[2:]]
    assert all(packed.is_mkldnn for packed in asked)


@needs_packing
@torch.no_grad()
@pytest.mark.parametrize("change", ["in place", "other data", "other format"])
def test_a_matrix_that_is_changed_is_copied_again(maps, change):
    x = torch.randn(5, 24)
    before = quicken(maps)(x)
    if change == "in place":
        maps[0].weight.mul_(2)
    elif change == "other data":
        maps[0].weight.data = maps[0].weight * 2
    else:
        maps, x = maps.bfloat16(), x.bfloat16()
    after = maps(x)
    torch.testing.assert_close(after, unquickened(maps)(x))
    if change != "other format":
        assert not torch.allclose(after, before)


@needs_packing
def test_what_an_optimizer_changes_is_copied_again(maps):
    """A fused step does not count as a change in place."""
    x, quick = torch.randn(5, 24), quicken(maps)
    for _ in range(2):
        with torch.inference_mode():
            torch.testing.assert_close(quick(x), unquickened(quick)(x))
        quick.requires_grad_(True)
        optimizer = torch.optim.AdamW(quick.parameters(), lr=0.1, fused=True)
        quick(x).sum().backward()
        optimizer.step()
        with torch.inference_mode():
            torch.testing.assert_close(quick(x), unquickened(quick)(x))
        quick.requires_grad_(False)
    with torch.inference_mode():
        torch.testing.assert_close(quick(x), unquickened(quick)(x))


@needs_packing
@torch.no_grad()
def test_a_copy_goes_when_its_matrix_goes(maps):
    quicken(maps)(torch.randn(5, 24))
    kept = len(packed_weights._COPIES)
    maps[0] = nn.Identity()
    gc.collect()
    assert len(packed_weights._COPIES) == kept - 1


@torch.no_grad()
def test_a_large_model_is_not_copied(maps, monkeypatch):
    monkeypatch.setattr(module, "MOST_PACKED", 4 * (240 + 60) - 1)
    monkeypatch.setattr(module, "packed_copy", None)
    quicken(maps)(torch.randn(5, 24))
    assert not any(part.packs for part in maps)


@torch.no_grad()
def test_autocast_chooses_the_number_format(maps):
    quicken(maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert maps(torch.randn(5, 24)).dtype == torch.bfloat16


def test_the_token_is_turned_and_not_a_column_which_is_read_slowly(monkeypatch):
    strides = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda *given: strides.append(given[1].stride()) or bmm(*given))
    with torch.inference_mode():
        quick_linear(torch.randn(1, 1, 24), torch.randn(8, 24))
    assert strides == [(0, 1, 24)]


def test_only_linear_maps_in_float32_and_bfloat16_are_quickened_and_weights_stay(maps):
    class Own(nn.Linear):
        pass

    class Packed(nn.Parameter):
        """As a quantizer packs weights: it says float32, and is no matrix of numbers."""

    packed = nn.Linear(4, 4)
    packed.weight = Packed(torch.randn(4, 4))
    model = nn.ModuleList([maps, Own(4, 4), nn.Linear(4, 4).half(), nn.Linear(4, 4, device="meta"), packed])
    before = dict(model.state_dict())
    quicken(model)
    assert [type(part) for part in maps] == [QuickLinear] * 2
    assert [type(part) for part in model[1:]] == [Own, nn.Linear, nn.Linear, nn.Linear]
    assert all(
        tensor is before[name] or tensor.data_ptr() == before[name].data_ptr() for name, tensor in before.items()
    )
    assert isinstance(copy.deepcopy(maps)[0], QuickLinear)


@torch.no_grad()
def test_where_torch_s_own_products_are_quick_they_are_taken(maps, monkeypatch):
    monkeypatch.setattr(module, "products_are_slow", lambda: False)
    monkeypatch.setattr(torch, "bmm", None)
    monkeypatch.setattr(module, "packed_copy", None)
    quicken(maps)
    assert [type(part) for part in maps] == [nn.Linear] * 2
    x, weight = torch.randn(1, 24), torch.randn(8, 24)
    assert torch.equal(quick_linear(x, weight), functional.linear(x, weight))


def test_a_copy_without_it_shares_the_tensors(maps):
    plain = unquickened(quicken(maps))
    assert [type(part) for part in plain] == [nn.Linear] * 2
    assert [type(part) for part in maps] == [QuickLinear] * 2
    assert all(mine is theirs for mine, theirs in zip(plain.parameters(), maps.parameters(), strict=True))
