"""Settings of `train_draft`. No torch here, so that the command line starts fast.

The text beside each type is the help text of the option.
"""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked, shown
from trimtab.engines.sampling_params import DEFAULT_TOP_K
from trimtab.errors import InvalidSetting
from trimtab.rewards.taps import check_ladder_width
from trimtab.training.recipe import Recipe

MOST = 10**9  # of any setting; more is a mistake


@final
@checked
@dataclass(frozen=True)
class DraftSettings:
    """The size of a draft head, and how it learns.

    Raises:
        InvalidSetting: a value is out of range.
    """

    tokens: Annotated[int, "Number of tokens that it can draft: those that are frequent in the texts."] = 8192
    taps: Annotated[int, "Number of the model's depths that it reads, evenly spaced."] = 3
    width: Annotated[int, "The size of its states."] = 384
    heads: Annotated[int, "Attention heads of its one layer."] = 6
    steps: Annotated[int, "Tokens that it learns to guess behind each token."] = 3
    texts: Annotated[int, "Number of texts that the model writes by itself, without --data."] = 1000
    new_tokens: Annotated[int, "Maximum tokens that the model writes behind each prompt."] = 128
    max_tokens: Annotated[int, "Maximum tokens per text; longer texts are cut at the end."] = 192
    top_k: Annotated[int, "The model's candidates: it writes by them, and the head learns their probabilities."] = (
        DEFAULT_TOP_K
    )
    epochs: Annotated[float, "Number of passes over the texts."] = 4.0
    batch_size: Annotated[int, "Texts per step."] = 8
    learning_rate: Annotated[float, "Peak learning rate."] = 2e-3
    warmup_steps: Annotated[int, "Steps over which the learning rate rises to its peak; at most half of all steps."] = (
        50
    )
    checkpoints: Annotated[int, "Number of checkpoints; each measures the held-out texts."] = 4
    bf16: Annotated[bool, "Compute in bfloat16; trained weights stay in float32."] = True
    seed: Annotated[int, "Seed of the texts, of the initial weights and of the order of the texts."] = 0

    def __post_init__(self) -> None:
        for name in ("tokens", "taps", "width", "heads", "steps", "texts", "new_tokens", "max_tokens", "top_k"):
            if not 1 <= getattr(self, name) <= MOST:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {MOST}")
        if self.max_tokens <= self.steps:
            raise InvalidSetting(f"got max_tokens={self.max_tokens}, expected more than steps={self.steps}")
        check_ladder_width(self.width, self.heads)
        self.recipe  # noqa: B018  # or it raises, for the other settings

    @property
    def recipe(self) -> Recipe:
        """The settings of the optimizer, as all training has them."""
        return Recipe(
            trunk="ladder",
            ladder_width=self.width,
            ladder_heads=self.heads,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            clip=1.0,
            max_tokens=self.max_tokens,
            bf16=self.bf16,
            checkpoints=self.checkpoints,
            seed=self.seed,
        )
