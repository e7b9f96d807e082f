"""Names of number formats, as settings and command lines write them; torch is imported on demand."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16"]


def torch_dtype(name: Dtype) -> "torch.dtype | None":
    """Return the torch dtype of this name; None for "auto", with which the loader chooses."""
    import torch

    dtypes: dict[Dtype, torch.dtype | None] = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
    return dtypes[name]
