"""The language model that the shared options name."""

import pytest
import torch

from trimtab.cli.options import load_language_model
from trimtab.errors import ModelNotFound


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_language_model_is_loaded_in_the_number_format(place, dtype, expected):
    assert load_language_model(str(place / "lm"), dtype).model.dtype == expected


def test_a_missing_language_model_is_named(tmp_path):
    with pytest.raises(ModelNotFound, match="nothing-here"):
        load_language_model(str(tmp_path / "nothing-here"), "auto")
