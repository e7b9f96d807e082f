"""The settings of a training run; no torch here, so that the command line can show them at once.

The text beside each type is what `--help` shows.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final, get_args

from trimtab.errors import InvalidSetting
from trimtab.rewards.card import HeadKind, TrunkTraining

LEARNING_RATES: dict[TrunkTraining, float] = {"frozen": 1e-3, "lora": 1e-3, "full": 1e-5}
LabelLoss = Literal["squared", "cross-entropy"]
DistilTarget = Literal["orig", "delta", "candidates"]


@final
@dataclass(frozen=True)
class Recipe:
    """Every setting that the objectives share; defaults from the papers where they give one."""

    head: Annotated[HeadKind, "q (ARM, one call for all next tokens) or v (RAD)."] = "q"
    layers: Annotated[int | None, "The first so many of the base's layers are the trunk. Default: all."] = None
    rank: Annotated[int, "The rank of a Q-head; the hidden size for the paper's full W."] = 64
    trunk: Annotated[TrunkTraining, "How the trunk is trained."] = "lora"
    lora_rank: Annotated[int, "The rank of the adapters; alpha is twice that."] = 16
    start: Annotated[str | None, "Begin with the adapters and the baseline of this reward, where shapes agree."] = None
    epochs: Annotated[float, "Passes over the data."] = 1.0
    batch_size: Annotated[int, "Texts a step, over all processes."] = 100
    learning_rate: Annotated[float | None, "Default: 1e-3 for frozen and lora, 1e-5 for full."] = None
    warmup_steps: Annotated[int, "Steps of rising learning rate; at most half of all."] = 100
    clip: Annotated[float, "The largest norm of a gradient; 0 for no limit."] = 2.0
    regulariser: Annotated[float, "The weight of the zero-delta term (Q-head)."] = 1.0
    max_tokens: Annotated[int, "Longer texts lose their end."] = 128
    bf16: Annotated[bool, "Compute in bfloat16; what is trained stays float32."] = True
    checkpoints: Annotated[int, "How often to measure and save on the way."] = 4
    patience: Annotated[
        int | None, "Stop after so many measurements without a lower held-out loss, and keep the best."
    ] = None
    probe_beta: Annotated[float, "The β at which top1_flip is measured."] = 20.0
    seed: Annotated[int, "For initial weights, order and drawn tokens."] = 0

    def __post_init__(self) -> None:
        for name in ("rank", "lora_rank", "batch_size", "max_tokens", "epochs", "checkpoints"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected more than 0")
        for name in ("layers", "learning_rate", "patience"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidSetting(f"got {name}={value}, expected more than 0")
        if not 0 <= self.seed < 2**32:
            raise InvalidSetting(f"got seed={self.seed}, expected 0 to {2**32 - 1}")
        for name in ("warmup_steps", "clip", "regulariser", "probe_beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 0")

    @property
    def resolved_learning_rate(self) -> float:
        """The learning rate, by how the trunk is trained where none is given."""
        return self.learning_rate or LEARNING_RATES[self.trunk]


@final
@dataclass(frozen=True)
class LabelSettings:
    """How labels are learnt."""

    loss: Annotated[LabelLoss, "squared error (both papers), or cross-entropy with a sigmoid at inference."] = "squared"

    def __post_init__(self) -> None:
        if self.loss not in get_args(LabelLoss):
            raise InvalidSetting(f"got loss={self.loss!r}, expected {' or '.join(get_args(LabelLoss))}")


@final
@dataclass(frozen=True)
class PairSettings:
    """How preferences are learnt."""

    prefixes: Annotated[bool, "Compare prefixes of equal length too, later ones more, not just whole texts."] = False


@final
@dataclass(frozen=True)
class DistilSettings:
    """What a student learns from its teacher."""

    target: Annotated[
        DistilTarget,
        "orig: the reward of each token that came; delta: what it added to the reward; candidates: orig, and the "
        "rewards of the base's top-k at every position.",
    ] = "candidates"
    candidates: Annotated[int, "k: how many of the base's most likely tokens to ask about."] = 20

    def __post_init__(self) -> None:
        if self.target not in get_args(DistilTarget):
            raise InvalidSetting(f"got target={self.target!r}, expected {' or '.join(get_args(DistilTarget))}")
        if self.candidates < 1:
            raise InvalidSetting(f"got candidates={self.candidates}, expected at least 1")
