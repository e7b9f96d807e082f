"""The settings of a training run; no torch here, so that the command line can show them at once."""

import math
from dataclasses import dataclass
from typing import final

from trimtab.errors import InvalidSetting
from trimtab.rewards.card import HeadKind, TrunkTraining

LEARNING_RATES: dict[TrunkTraining, float] = {"frozen": 1e-3, "lora": 1e-3, "full": 1e-5}


@final
@dataclass(frozen=True)
class LabelRecipe:
    """Every setting of a training run; defaults from the papers where they give one.

    Attributes:
        head: "q" (ARM) or "v" (RAD).
        layers: the first so many layers of the base are the trunk; None for all.
        rank: of the Q-head.
        trunk: "frozen", "lora" or "full".
        lora_rank: of the adapters; alpha is twice that.
        epochs, batch_size, learning_rate, warmup_steps, clip: the optimizer's; the learning rate defaults by trunk.
        regulariser: the coefficient of the zero-delta term of a Q-head.
        max_tokens: longer texts lose their end.
        bf16: compute in bfloat16 with float32 trainable weights.
        seed: for initial weights, order and drawn tokens.
    """

    head: HeadKind = "q"
    layers: int | None = None
    rank: int = 64
    trunk: TrunkTraining = "lora"
    lora_rank: int = 16
    epochs: float = 1.0
    batch_size: int = 100
    learning_rate: float | None = None
    warmup_steps: int = 100
    clip: float = 2.0
    regulariser: float = 1.0
    max_tokens: int = 128
    bf16: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "lora_rank", "batch_size", "max_tokens", "epochs"):
            if getattr(self, name) <= 0:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected more than 0")
        for name in ("layers", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidSetting(f"got {name}={value}, expected more than 0")
        for name in ("warmup_steps", "clip", "regulariser"):
            if getattr(self, name) < 0:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 0")

    @property
    def resolved_learning_rate(self) -> float:
        """The learning rate, by how the trunk is trained where none is given."""
        return self.learning_rate or LEARNING_RATES[self.trunk]
