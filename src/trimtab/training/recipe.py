"""Settings of a training run. No torch here, so that the command line starts fast.

The text beside each type is the help text of the option.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, final, get_args

from trimtab.errors import InvalidSetting
from trimtab.rewards.card import TrunkTraining
from trimtab.rewards.heads import describe_heads, head_kind

LEARNING_RATES: dict[TrunkTraining, float] = {"frozen": 1e-3, "lora": 1e-3, "full": 1e-5}
LabelLoss = Literal["squared", "cross-entropy"]
DistilTarget = Literal["orig", "delta", "candidates"]


@final
@dataclass(frozen=True)
class Recipe:
    """Settings that all objectives share. Defaults are the papers' where they give one.

    Raises:
        InvalidSetting: a value is out of range.
    """

    head: Annotated[str, f"Kind of head: {describe_heads()}."] = "q"
    layers: Annotated[
        int | None, "Number of layers in the trunk, counted from the first layer of the base. Default: all."
    ] = None
    rank: Annotated[int, "The rank of a Q-head; the hidden size for the paper's full W."] = 64
    trunk: Annotated[
        TrunkTraining, "Training of the trunk: frozen, lora (low-rank adapters) or full (every weight)."
    ] = "lora"
    lora_rank: Annotated[int, "The rank of the LoRA adapters; alpha is twice the rank."] = 16
    start: Annotated[str | None, "Start from the adapters and the baseline of this reward, where shapes agree."] = None
    epochs: Annotated[float, "Number of passes over the data."] = 1.0
    batch_size: Annotated[int, "Texts per step, over all processes."] = 100
    learning_rate: Annotated[
        float | None, "Peak learning rate. Default: 1e-3 for frozen and lora trunks, 1e-5 for full."
    ] = None
    warmup_steps: Annotated[int, "Steps over which the learning rate rises to its peak; at most half of all steps."] = (
        100
    )
    clip: Annotated[float, "Maximum norm of the gradient; 0 for no limit."] = 2.0
    regulariser: Annotated[
        float, "Weight of the regulariser of a Q-head: a token that training never shows gets its prefix's reward."
    ] = 1.0
    max_tokens: Annotated[int, "Maximum tokens per text; longer texts are cut at the end."] = 128
    bf16: Annotated[bool, "Compute in bfloat16; trained weights stay in float32."] = True
    checkpoints: Annotated[int, "Number of checkpoints; each measures the held-out texts."] = 4
    patience: Annotated[
        int | None, "Stop after this many checkpoints without a lower held-out loss, and keep the best. Default: never."
    ] = None
    probe_beta: Annotated[float, "Steering strength β at which top1_flip is measured."] = 20.0
    seed: Annotated[int, "Seed of the initial weights, the order of the texts and the sampled tokens."] = 0

    def __post_init__(self) -> None:
        head_kind(self.head)
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
        """Return the learning rate; if none is set, the default for this training of the trunk."""
        return self.learning_rate or LEARNING_RATES[self.trunk]


@final
@dataclass(frozen=True)
class LabelSettings:
    """How a reward learns from labels."""

    loss: Annotated[LabelLoss, "Loss: squared (both papers), or cross-entropy with a sigmoid at inference."] = "squared"

    def __post_init__(self) -> None:
        if self.loss not in get_args(LabelLoss):
            raise InvalidSetting(f"got loss={self.loss!r}, expected {' or '.join(get_args(LabelLoss))}")


@final
@dataclass(frozen=True)
class PairSettings:
    """How a reward learns from preferences."""

    prefixes: Annotated[
        bool, "Compare prefixes of equal length as well as whole texts; longer prefixes weigh more."
    ] = False


@final
@dataclass(frozen=True)
class DistilSettings:
    """What a student learns from its teacher."""

    target: Annotated[
        DistilTarget,
        "Target of the student: orig (reward after each token of the text), delta (change of the reward at each token) "
        "or candidates (orig, and the rewards of the base's most likely tokens at every position).",
    ] = "candidates"
    candidates: Annotated[
        int, "Number of most likely tokens per position that the teacher scores for --target candidates."
    ] = 20

    def __post_init__(self) -> None:
        if self.target not in get_args(DistilTarget):
            raise InvalidSetting(f"got target={self.target!r}, expected {' or '.join(get_args(DistilTarget))}")
        if self.candidates < 1:
            raise InvalidSetting(f"got candidates={self.candidates}, expected at least 1")


@final
@dataclass(frozen=True)
class Source:
    """The table to train on and the table to measure on."""

    data: Annotated[str, "Training texts: a .jsonl, .csv or .tsv file (.gz allowed), or the Hub id of a data set."]
    held_out: Annotated[
        str | None, "Held-out texts, in the same formats. Default: 5 % of --data, which is then not trained on."
    ] = None
    split: Annotated[str, "Split of --data, for a data set on the Hub."] = "train"
    held_out_split: Annotated[str, "Split of --held-out, for a data set on the Hub."] = "validation"
    limit: Annotated[int | None, "Maximum number of training rows, drawn at random. Default: all."] = None
    held_out_limit: Annotated[int | None, "Maximum number of rows of --held-out, from the first. Default: all."] = None

    def __post_init__(self) -> None:
        if self.held_out_limit is not None and self.held_out is None:
            raise InvalidSetting(f"got held_out_limit={self.held_out_limit} without held_out, expected both")
        for name in ("limit", "held_out_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSetting(f"got {name}={value}, expected at least 1")
