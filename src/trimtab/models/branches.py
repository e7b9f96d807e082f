"""New tokens that are a tree behind a text: each follows the text or any new token before it."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@final
@dataclass(frozen=True)
class Branches:
    """A tree of new tokens for each row of a cache.

    Attributes:
        path: for each new token, the new tokens that it sees: those on its way to the text, and itself.
        depths: how many new tokens are before each.
    """

    path: Bool[Tensor, "rows new new"]
    depths: Int[Tensor, "rows new"]

    @classmethod
    def behind(cls, after: Int[Tensor, "rows new"]) -> "Branches":
        """The tree in which each token follows that at the place `after`, or the text where it is negative."""
        rows, new = after.shape
        path = torch.eye(new, dtype=torch.bool, device=after.device).repeat(rows, 1, 1)
        every = torch.arange(rows, device=after.device)
        for place in range(1, new):
            parent = after[:, place]
            path[:, place] |= path[every, parent.clamp_min(0)] & (parent >= 0)[:, None]
        return cls(path, path.sum(-1) - 1)

    def behind_columns(self, mask: Bool[Tensor, "rows slots"]) -> tuple[Tensor, Tensor, Tensor]:
        """What the new tokens see in a cache, and where they are.

        Args:
            mask: the columns before them that are part of each text.

        Returns:
            The columns that each sees, [rows, new, slots + new]; the position of each column, [rows, slots + new];
            and those of the new tokens, [rows, new].
        """
        before = mask[:, None].expand(-1, self.path.shape[1], -1)
        positions = mask.sum(1, keepdim=True) + self.depths
        return torch.cat([before, self.path], -1), torch.cat([mask.cumsum(1) - 1, positions], 1), positions
