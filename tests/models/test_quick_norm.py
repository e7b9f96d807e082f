"""RMS norms as one operation."""

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from trimtab.models.quick_norm import QuickRMSNorm, quicken_norms
from trimtab.models.quicken import quicken, unquickened


def norm_of(kind):
    """A norm with random weights."""
    torch.manual_seed(0)
    norm = kind(24, eps=1e-3)
    nn.init.normal_(norm.weight)
    return norm.requires_grad_(False)


def float64(norm, x):
    """The norm of Zhang and Sennrich (2019), equation 4, in float64."""
    wide = x.double()
    return wide / (wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).sqrt() * norm.weight.double()


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen2RMSNorm, Olmo2RMSNorm])
def test_a_usual_norm_is_one_operation_with_the_same_result(kind):
    model = nn.ModuleList([norm_of(kind)])
    x = torch.randn(2, 3, 24)
    expected = model[0](x)
    quicken_norms(model)
    assert type(model[0]) is QuickRMSNorm
    torch.testing.assert_close(model[0](x), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model[0](x).double(), float64(model[0], x), rtol=1e-5, atol=1e-5)


def test_in_bfloat16_the_result_is_nearer_to_float64():
    plain = nn.ModuleList([norm_of(LlamaRMSNorm)]).bfloat16()
    quick, x = copy.deepcopy(plain), torch.randn(64, 24).bfloat16()
    quicken_norms(quick)
    wide = float64(plain[0], x)
    far, near = ((norm[0](x).double() - wide).norm() for norm in (plain, quick))
    assert quick[0](x).dtype == torch.bfloat16
    assert near < far < 0.01 * wide.norm()


def test_a_norm_of_another_number_format_computes_as_before():
    """Some models keep their norms in float32; transformers then returns float32."""
    model = nn.ModuleList([norm_of(LlamaRMSNorm)])
    x = torch.randn(3, 24).bfloat16()
    expected = model[0](x)
    quicken_norms(model)
    assert torch.equal(model[0](x), expected)
    assert model[0](x).dtype == expected.dtype


def test_other_norms_stay():
    """Gemma's multiplies with one more than its weight; one with a bias, and one of another formula."""

    class BiasRMSNorm(LlamaRMSNorm):
        def __init__(self, size, eps):
            super().__init__(size, eps)
            self.bias = nn.Parameter(torch.zeros(size))

    class OtherRMSNorm(LlamaRMSNorm):
        def forward(self, hidden_states):
            return super().forward(hidden_states) * 2

    kinds = [Gemma3RMSNorm, BiasRMSNorm, OtherRMSNorm]
    model = nn.ModuleList([kind(24, eps=1e-3) for kind in kinds] + [nn.LayerNorm(24), nn.RMSNorm(24)])
    quicken_norms(model)
    assert [type(part) for part in model] == [*kinds, nn.LayerNorm, nn.RMSNorm]


def test_a_copy_has_the_norms_of_transformers_again():
    model = nn.ModuleList([norm_of(LlamaRMSNorm), nn.Linear(24, 4).requires_grad_(False)])
    before = set(model.state_dict())
    plain = unquickened(quicken(model))
    assert type(model[0]) is QuickRMSNorm
    assert [type(part) for part in plain] == [LlamaRMSNorm, nn.Linear]
    assert plain[0].weight is model[0].weight
    assert set(model.state_dict()) == before


def test_gradients_pass():
    model = nn.ModuleList([norm_of(LlamaRMSNorm)])
    x = torch.randn(3, 24, requires_grad=True)
    (expected,) = torch.autograd.grad(model[0](x).pow(3).sum(), x)
    quicken_norms(model)
    (found,) = torch.autograd.grad(model[0](x).pow(3).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
