from typing import get_args

import torch

from trimtab.models.dtypes import Dtype, torch_dtype


def test_every_name_has_the_torch_dtype_of_that_name():
    for name in get_args(Dtype):
        assert torch_dtype(name) is (None if name == "auto" else getattr(torch, name))
