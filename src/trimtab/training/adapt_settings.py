"""Settings of `adapt`, and the recipe that it scales to a model. No torch here, so that the command line starts fast.

The text beside each type is the help text of the option.
"""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting
from trimtab.training.recipe import DistilSettings, Recipe

MAX_RUNGS = 10  # of a ladder, one for every two layers up to here
HEAD_SIZE = 64  # of a ladder's attention
HIDDEN_PER_HEAD = 384  # of the model, for each attention head of the ladder
FEWEST_HEADS, MOST_HEADS = 3, 8  # unless they are given
LARGEST_HEADS = 64
LONGEST = 4096  # tokens of a text
FEWEST_TEXTS = 4


@final
@checked
@dataclass(frozen=True)
class AdaptSettings:
    """How much a reward for another model learns from its teacher.

    Raises:
        InvalidSetting: a value is out of range.
    """

    texts: Annotated[int, "Number of texts. One in ten is held out, to measure the agreement with the teacher."] = 1000
    tokens: Annotated[int, "Maximum tokens per text."] = 32
    candidates: Annotated[int, "Number of the model's most likely tokens that the teacher scores at a position."] = 20
    positions: Annotated[int, "Positions of each text at which the teacher scores candidates."] = 3
    epochs: Annotated[float, "Number of passes over the texts."] = 8.0
    ladder_heads: Annotated[
        int | None,
        "Attention heads of the ladder, each 64 numbers wide: fewer make the reward smaller. Default: 3 to 8, by the "
        "model's size.",
    ] = None
    chat: Annotated[
        bool,
        "Learn every second text as the answer to a user's message, in the model's chat template: for a model that "
        "chats.",
    ] = False
    seed: Annotated[int, "Seed of the texts, of the initial weights and of the order of the texts."] = 0
    bf16: Annotated[bool, "Compute in bfloat16, which is slow on some CPUs."] = True

    def __post_init__(self) -> None:
        for name, least in (("texts", 20), ("tokens", 2), ("candidates", 3), ("positions", 1)):
            if getattr(self, name) < least:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected at least {least}")
        if self.ladder_heads is not None and not 1 <= self.ladder_heads <= LARGEST_HEADS:
            raise InvalidSetting(f"got ladder_heads={shown(self.ladder_heads)}, expected 1 to {LARGEST_HEADS}")
        if self.tokens > LONGEST:
            raise InvalidSetting(f"got tokens={self.tokens}, expected at most {LONGEST}")
        self.recipe(1, HIDDEN_PER_HEAD, False)  # or it raises, for epochs and seed

    def recipe(self, layers: int, hidden_size: int, keep_states: bool) -> Recipe:
        """The recipe of a ladder scaled to a model.

        Args:
            layers, hidden_size: of the model.
            keep_states: keep its hidden states in the run folder.
        """
        heads = self.ladder_heads or min(max(hidden_size // HIDDEN_PER_HEAD, FEWEST_HEADS), MOST_HEADS)
        return Recipe(
            trunk="ladder",
            rank=min(HEAD_SIZE, hidden_size),
            ladder_layers=min(MAX_RUNGS, (layers + 1) // 2),
            ladder_width=heads * HEAD_SIZE,
            ladder_heads=heads,
            keep_states=keep_states,
            epochs=self.epochs,
            batch_size=32,
            warmup_steps=20,
            regulariser=0.1,
            max_tokens=self.tokens,
            bf16=self.bf16,
            seed=self.seed,
        )

    @property
    def distillation(self) -> DistilSettings:
        """What the student learns: the rewards of candidates."""
        return DistilSettings("candidates", self.candidates, self.positions)
