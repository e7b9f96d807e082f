import pytest
import torch
from torch import nn

from tiny import tiny_lm
from trimtab.errors import UnsupportedModel
from trimtab.models.layers import find_final_norm, find_layers, share_first_layers


def test_the_layers_and_the_final_norm_are_found(frozen):
    assert len(find_layers(frozen.body)) == 3
    norm = find_final_norm(frozen.body)
    assert [tuple(weight.shape) for weight in norm.parameters()] in ([(32,)], [(32,), (32,)])


def test_a_model_without_a_list_of_layers_or_a_final_norm_is_refused():
    body = tiny_lm("llama").body
    body.norm_of_another_name = body.norm
    del body.norm
    with pytest.raises(UnsupportedModel, match="expected a final norm named norm or ln_f"):
        find_final_norm(body)
    body.layers = nn.ModuleList(list(body.layers)[:2])
    with pytest.raises(UnsupportedModel, match="expected one list of its 3 transformer layers"):
        find_layers(body)


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.inference_mode()
def test_the_first_layers_share_memory_and_give_their_hidden_state(frozen, layers):
    trunk = share_first_layers(frozen.body, layers)
    ids = torch.tensor([[10, 20, 30, 40, 11, 21, 31]])
    states = frozen.body(ids, use_cache=False, output_hidden_states=True).hidden_states[layers]
    expected = states if layers == 3 else find_final_norm(frozen.body)(states)
    torch.testing.assert_close(trunk(ids, use_cache=False).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
    ours = {weight.data_ptr() for weight in frozen.body.parameters()}
    assert {weight.data_ptr() for weight in trunk.parameters()} <= ours
    assert len(find_layers(frozen.body)) == 3
