"""The rows of the table: each is one way to write a text. No torch here, so that the command line starts fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from trimtab.checking import shown
from trimtab.errors import InvalidSetting
from trimtab.rewards.heads import head_kind
from trimtab.training.recipe import Recipe

Writer = Literal["loop", "generate", "vllm"]
RadMethod = Literal["block mask", "cached calls", "re-encoding"]

LOOKUP, DRAFT = "lookup", "draft"  # what drafts
OWN = Recipe(trunk="frozen", head="q")
LADDER = Recipe(trunk="ladder", head="q")
LADDER_TEN = Recipe(trunk="ladder", head="q", ladder_layers=10)  # as the bundled ladders are
ARM = Recipe(trunk="lora", head="q", lora_rank=8)
RAD = Recipe(trunk="lora", head="v", lora_rank=8)


@final
@dataclass(frozen=True)
class RewardShape:
    """What a row steers by: a fresh reward. Its time does not depend on its weights.

    Attributes:
        recipe: the trunk and the head. A lora trunk gets the number of layers of the run.
        attributes: how many attributes the reward has; the steer uses all of them.
        merge_adapters: whether the adapters are added into the weights; None: if that takes at most 4 GiB.
        by: how RAD computes its rewards; the other heads have one way.
    """

    recipe: Recipe
    attributes: int = 1
    merge_adapters: bool | None = None
    by: RadMethod = "block mask"

    @property
    def runs_candidates(self) -> bool:
        """Whether every candidate goes through the trunk, as in RAD."""
        return not head_kind(self.recipe.head).reads_host


@final
@dataclass(frozen=True)
class Row:
    """One way to write a text.

    Attributes:
        key: the name of the row on the command line and in the record.
        title: its name in tables.
        reward: what steers; None for plain sampling.
        own_steers: whether every row of the batch has a steer of its own; it then needs a batch of two or more.
        writer: our decode loop, transformers' `generate`, or the vLLM engine.
        quick: whether `--quick` measures it.
        speculate: what drafts the tokens: "lookup" behind prompts that repeat a passage, so that there is something to
            copy, "draft" behind sentences, of which the head knows more than of random tokens; None for random prompts,
            token by token.
    """

    key: str
    title: str
    reward: RewardShape | None = None
    own_steers: bool = False
    writer: Writer = "loop"
    quick: bool = False
    speculate: str | None = None


ROWS = (
    Row("transformers", "transformers' generate", writer="generate", quick=True),
    Row("plain", "plain loop", quick=True),
    Row("lookup", "plain loop with lookup, copying", speculate=LOOKUP),
    Row("draft", "plain loop with a draft head", speculate=DRAFT),
    Row("own", "own state", RewardShape(OWN), quick=True),
    Row("own-two", "own state, two attributes", RewardShape(OWN, attributes=2)),
    Row("own-steers", "own state, a steer per row", RewardShape(OWN), own_steers=True),
    Row("ladder", "ladder", RewardShape(LADDER), quick=True),
    Row("ladder-ten", "ladder of ten layers", RewardShape(LADDER_TEN)),
    Row("ladder-ten-two", "ladder of ten layers, two attributes", RewardShape(LADDER_TEN, attributes=2)),
    Row("arm", "ARM", RewardShape(ARM), quick=True),
    Row("arm-merged", "ARM, adapters merged", RewardShape(ARM, merge_adapters=True)),
    Row("arm-apart", "ARM, adapters apart", RewardShape(ARM, merge_adapters=False)),
    Row("arm-two", "ARM, two attributes", RewardShape(ARM, attributes=2)),
    Row("arm-steers", "ARM, a steer per row", RewardShape(ARM), own_steers=True),
    Row("rad", "RAD, block mask", RewardShape(RAD), quick=True),
    Row("rad-cached", "RAD, k cached calls", RewardShape(RAD, by="cached calls")),
    Row("rad-encoded", "RAD, re-encoding", RewardShape(RAD, by="re-encoding")),
)
VLLM_ROWS = (
    Row("vllm", "vLLM, unsteered", writer="vllm"),
    Row("vllm-own", "vLLM, own state", RewardShape(OWN), writer="vllm"),
    Row("vllm-ladder", "vLLM, ladder", RewardShape(LADDER), writer="vllm"),
    Row("vllm-arm", "vLLM, ARM", RewardShape(ARM), writer="vllm"),
)  # of --engine vllm
MADE_BY = "trimtab bench"  # marks a record, so that another file is never replaced
PLAIN = "plain"
TRANSFORMERS = "transformers"
KEYS = tuple(row.key for row in ROWS)


def find_rows(keys: Sequence[str]) -> tuple[Row, ...]:
    """Return the rows of these names, in the order of the table; the plain loop is always among them.

    Raises:
        InvalidSetting: there is no row of a name.
    """
    if unknown := [key for key in keys if key not in KEYS]:
        raise InvalidSetting(f"got the row {shown(unknown[0])}, expected one of: {', '.join(KEYS)}")
    return tuple(row for row in ROWS if row.key in {PLAIN, *keys})
