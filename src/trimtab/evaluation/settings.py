"""The settings that all rows of a comparison share; no torch here, so that the command line can show them at once."""

from dataclasses import dataclass
from typing import Annotated, Literal, final

from trimtab.engines.settings import DEFAULT_TOP_K
from trimtab.errors import InvalidSetting

Dtype = Literal["auto", "float32", "bfloat16"]


@final
@dataclass(frozen=True)
class Grid:
    """Which methods are compared; `unsteered` and `top-k` (β = 0) always are."""

    reward: Annotated[
        list[str] | None,
        "NAME[:ATTRIBUTE] to steer by: bundled, a folder or a Hub id; A+B steers by both, each with half of β. Repeat.",
    ] = None
    beta: Annotated[list[float] | None, "A steering strength, which way is the prompts' matter. Repeat."] = None
    best_of: Annotated[list[int] | None, "Keep the best of so many drafts, by --by. Repeat."] = None
    by: Annotated[str | None, "The reward that ranks drafts. Default: the first --reward."] = None
    greedy: Annotated[bool, "The most likely text, too: what a method is like that only makes text probable."] = False
    rewind: Annotated[list[str] | None, "NAME[:ATTRIBUTE] of a reward that judges a search (RAIN). Repeat."] = None
    rewind_alone: Annotated[bool, "The judge of a search reads the continuation without its prompt."] = False
    rewind_beta: Annotated[
        list[float] | None, "Steer searches by the first --reward, too, with this β, beside the unsteered ones. Repeat."
    ] = None

    def __post_init__(self) -> None:
        if self.rewind_beta and not (self.rewind and self.reward):
            raise InvalidSetting("got --rewind-beta, expected with it --rewind, and --reward to steer by")
        if self.reward and not self.beta:
            raise InvalidSetting("got --reward without --beta, expected at least one β, as in --beta 20 --beta 40")
        if self.beta and not self.reward:
            raise InvalidSetting("got --beta without --reward, expected the rewards to steer by")
        if wrong := [beta for beta in (*(self.beta or []), *(self.rewind_beta or [])) if not 0 < beta < float("inf")]:
            raise InvalidSetting(f"got beta={wrong[0]}, expected above 0: the prompts say which way")
        if wrong_n := [n for n in self.best_of or [] if n < 2]:
            raise InvalidSetting(f"got best_of={wrong_n[0]}, expected at least 2")
        if self.best_of and not (self.by or self.reward):
            raise InvalidSetting("got --best-of without --by, expected the reward that ranks the drafts")


@final
@dataclass(frozen=True)
class SweepSettings:
    """How every row of a comparison is written: the same prompts, seeds and lengths for all methods."""

    model: Annotated[str, "The language model: smollm2, a folder, a .gguf file or a Hub id."] = "smollm2"
    dtype: Annotated[Dtype, "Its numbers: float32, bfloat16, or auto (float32 on a CPU, else as saved)."] = "auto"
    limit: Annotated[int | None, "Use the first so many prompts of each file, for a quick look."] = None
    samples: Annotated[int, "Continuations of each prompt; the papers take 25."] = 25
    max_new_tokens: Annotated[int, "The most tokens of a continuation; the papers take 20."] = 20
    top_k: Annotated[int, "Candidates a step, of every method but `unsteered`."] = DEFAULT_TOP_K
    temperature: Annotated[float, "Divides the steered logits."] = 1.0
    seed: Annotated[int, "The same seed gives the same table."] = 0
    batch_size: Annotated[int, "Prompts written together, each with all its samples."] = 16

    def __post_init__(self) -> None:
        for name in ("samples", "max_new_tokens", "top_k", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 1")
        if self.limit is not None and self.limit < 1:
            raise InvalidSetting(f"got limit={self.limit}, expected at least 1")


@final
@dataclass(frozen=True)
class Reads:
    """Who reads the texts."""

    judge: Annotated[
        list[str] | None,
        "vader, profanity, onnx:FOLDER[:LABEL], reward:NAME[:ATTRIBUTE], or a text-classification model's ID[:LABEL]; "
        "the first one's figures are plotted. Repeat. Default: the task's two.",
    ] = None
    perplexity: Annotated[str | None, "A language model to measure fluency by, beside the unsteered one itself."] = None
    profile: Annotated[str | None, "NAME[:ATTRIBUTE] of a reward to read after each tenth of the texts."] = None
