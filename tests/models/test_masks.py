import copy

import pytest
import torch

from tiny import tiny_lm
from trimtab.models.masks import attention_masks

VISIBLE = torch.tensor([[[True, True, False, True, True, True], [True, False, True, True, False, True]]])
COLUMNS = torch.tensor([[0, 1, 2, 3, 4, 5]])
POSITIONS = torch.tensor([[5, 5]])


def allowed(mask):
    assert set(mask.unique().tolist()) <= {0.0, torch.finfo(torch.float32).min}
    return (mask[:, 0] == 0).tolist()


def near(window):
    """Return the visible columns fewer than this many positions back."""
    return [[[seen and 5 - column < window for column, seen in enumerate(row)] for row in VISIBLE[0].tolist()]]


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_without_a_window_every_visible_column_is_allowed(family):
    mask = attention_masks(tiny_lm(family).model, VISIBLE, COLUMNS, POSITIONS)
    assert allowed(mask) == VISIBLE.tolist()


@pytest.mark.parametrize("window", [1, 2, 4, 6])
def test_a_window_allows_the_nearest_positions_only(window):
    model = tiny_lm("llama").model
    model.config = copy.deepcopy(model.config)
    model.config.sliding_window = window
    assert allowed(attention_masks(model, VISIBLE, COLUMNS, POSITIONS)) == near(window)


def test_a_model_with_two_kinds_of_layers_has_a_mask_for_each():
    masks = attention_masks(tiny_lm("gemma3").model, VISIBLE, COLUMNS, POSITIONS)
    assert allowed(masks["full_attention"]) == VISIBLE.tolist()
    assert allowed(masks["sliding_attention"]) == near(4)
