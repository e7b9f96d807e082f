"""Settings that all rows of a comparison share. No torch here, so that the command line starts fast."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked
from trimtab.engines.engine_names import ENGINE_HELP, EngineName
from trimtab.engines.sampling_params import DEFAULT_TOP_K, check_budget
from trimtab.errors import InvalidSetting
from trimtab.evaluation.checks import check_at_least
from trimtab.evaluation.prompt_form import PromptForm
from trimtab.evaluation.report.formats import DEFAULT_FORMATS, FORMATS
from trimtab.models.dtypes import Dtype
from trimtab.rewards.other_tokenizer import RETOKENIZE


@final
@checked
@dataclass(frozen=True)
class Grid:
    """Methods to compare. `unsteered` and `top-k` (β = 0) are always among them.

    Raises:
        InvalidSetting: a value is out of range, or a setting lacks another that it needs.
    """

    reward: Annotated[
        list[str] | None,
        "Reward to steer by, as NAME[:ATTRIBUTE]: bundled, a folder or a Hub id. A+B steers by both, each with β/2. "
        "Repeat for several.",
    ] = None
    retokenize: Annotated[bool, RETOKENIZE] = False
    beta: Annotated[
        list[float] | None, "Steering strength, above 0; the prompt set determines the direction. Repeat for several."
    ] = None
    max_kl: Annotated[
        list[float] | None,
        "Also steer with this budget, in nats per token, by every --reward with every --beta. Repeat for several.",
    ] = None
    best_of: Annotated[list[int] | None, "Number of drafts for best-of-n, ranked by --by. Repeat for several."] = None
    by: Annotated[str | None, "Reward that ranks the drafts of --best-of. Default: the first --reward."] = None
    block: Annotated[
        list[int] | None,
        "Also write texts in blocks of this many tokens, each the best of --best-of (Controlled Decoding). Repeat for "
        "several.",
    ] = None
    halve_every: Annotated[
        list[int] | None,
        "Also end the worse half of the drafts of --best-of after each run of this many tokens (speculative "
        "rejection). Repeat for several.",
    ] = None
    accept_at: Annotated[
        list[float] | None,
        "Also write texts in segments, each up to --best-of times, until the reward is good enough; a whole text "
        "should reach this reward, or stay below it where prompts are steered down (CARDS). Repeat for several.",
    ] = None
    args: Annotated[
        list[float] | None,
        "Also steer greedily by every --reward without its clamp, with this weight (ARGS). Repeat for several.",
    ] = None
    greedy: Annotated[bool, "Also compare greedy decoding."] = False
    rewind: Annotated[
        list[str] | None, "Reward that judges a search (RAIN), as NAME[:ATTRIBUTE]. Repeat for several."
    ] = None
    rewind_alone: Annotated[bool, "Show the judge of a search the continuation without its prompt."] = False
    rewind_beta: Annotated[
        list[float] | None, "Also search while steering by the first --reward with this β. Repeat for several."
    ] = None

    def __post_init__(self) -> None:
        if self.rewind_alone and not self.rewind:
            raise InvalidSetting("got --rewind-alone, expected --rewind with it")
        if self.rewind_beta and not (self.rewind and self.reward):
            raise InvalidSetting("got --rewind-beta, expected --rewind, and --reward to steer by, with it")
        if self.reward and not (self.beta or self.args):
            raise InvalidSetting("got --reward without --beta, expected at least one β, as in --beta 20 --beta 40")
        if self.beta and not self.reward:
            raise InvalidSetting("got --beta without --reward, expected the rewards to steer by")
        if wrong := [beta for beta in (*(self.beta or []), *(self.rewind_beta or [])) if not 0 < beta < float("inf")]:
            raise InvalidSetting(f"got beta={wrong[0]}, expected above 0; the prompt set determines the direction")
        for max_kl in self.max_kl or []:
            check_budget(max_kl)
        if 0 in (self.max_kl or []):
            raise InvalidSetting("got max_kl=0, expected a budget above 0: it would switch the steering off")
        if self.max_kl and not self.reward:
            raise InvalidSetting("got --max-kl without --reward, expected the rewards to steer by")
        if named := [name for name in (*(self.reward or []), *(self.rewind or []), self.by) if name == ""]:
            raise InvalidSetting(f"got a reward named {named[0]!r}, expected NAME[:ATTRIBUTE]")
        self._check_best_of()

    def _check_best_of(self) -> None:
        if wrong_n := [n for n in self.best_of or [] if n < 2]:
            raise InvalidSetting(f"got best_of={wrong_n[0]}, expected at least 2")
        if self.best_of and not (self.by or self.reward):
            raise InvalidSetting("got --best-of without --by, expected the reward that ranks the drafts")
        if self.by and not self.best_of:
            raise InvalidSetting("got --by, expected --best-of with it")
        for name in ("block", "halve_every", "accept_at"):
            given = getattr(self, name) or []
            if given and not self.best_of:
                raise InvalidSetting(f"got --{name.replace('_', '-')}, expected --best-of with it")
            if name != "accept_at" and (wrong := [each for each in given if each < 1]):
                raise InvalidSetting(f"got {name}={wrong[0]}, expected at least 1 token")
            if len(set(given)) < len(given):
                raise InvalidSetting(f"got {name}={given[0]} twice, expected different values, because they name rows")
        if wrong_goal := [goal for goal in self.accept_at or [] if not -float("inf") < goal < float("inf")]:
            raise InvalidSetting(f"got accept_at={wrong_goal[0]}, expected a finite reward")
        if self.args and not self.reward:
            raise InvalidSetting("got --args without --reward, expected the rewards to steer by")
        if wrong_weight := [weight for weight in self.args or [] if not 0 < weight < float("inf")]:
            raise InvalidSetting(
                f"got args={wrong_weight[0]}, expected above 0; the prompt set determines the direction"
            )


@final
@checked
@dataclass(frozen=True)
class SweepSettings:
    """How each row of a comparison is written: with the same prompts, seeds and lengths for all methods.

    Raises:
        InvalidSetting: a value is out of range.
    """

    model: Annotated[str, "The language model: smollm2, a folder, a .gguf file or a Hub id."] = "smollm2"
    dtype: Annotated[
        Dtype, "Number format of the model; auto is float32 on a CPU, else the format of the saved weights."
    ] = "auto"
    engine: Annotated[EngineName, ENGINE_HELP] = "torch"
    limit: Annotated[int | None, "Maximum number of prompts per file, from the first. Default: all."] = None
    samples: Annotated[int, "Continuations per prompt; 25 in the papers."] = 25
    max_new_tokens: Annotated[int, "Maximum number of new tokens per continuation; 20 in the papers."] = 20
    top_k: Annotated[int, "Candidates per token, for every method except `unsteered`."] = DEFAULT_TOP_K
    temperature: Annotated[float, "Divides the steered logits."] = 1.0
    seed: Annotated[int, "Seed of every text; the same seed gives the same texts."] = 0
    batch_size: Annotated[int, "Prompts to write together, each with all its samples."] = 16
    chat: Annotated[
        bool, "Send each prompt as a user message, in the model's chat template. Judges read the answer alone."
    ] = False
    system: Annotated[
        str | None,
        'System message before each prompt; "" for none, also where the template would add one. Implies --chat.',
    ] = None

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("samples", "max_new_tokens", "top_k", "batch_size", "limit")}
        check_at_least(1, **counts)
        check_at_least(0, seed=self.seed)
        if not 0 < self.temperature < float("inf"):
            raise InvalidSetting(f"got temperature={self.temperature}, expected above 0; --greedy adds greedy decoding")

    @property
    def form(self) -> PromptForm:
        """How prompts are sent."""
        return PromptForm(self.chat, self.system)


@final
@checked
@dataclass(frozen=True)
class ScoringOptions:
    """Judges and language models that measure the texts.

    Raises:
        InvalidSetting: a name is empty.
    """

    judge: Annotated[
        list[str] | None,
        "Judge of the texts: vader, profanity, onnx:FOLDER[:LABEL], reward:NAME[:ATTRIBUTE], or ID[:LABEL] of a "
        "text-classification model. Repeat for several; the first one is plotted. "
        "Default: profanity and reward:toxicity-rad for toxicity, vader and reward:sentiment-rad for sentiment.",
    ] = None
    perplexity: Annotated[
        str | None, "Also measure perplexity with this language model. The unsteered model is always measured."
    ] = None
    profile: Annotated[str | None, "Measure this reward after each tenth of the texts, as NAME[:ATTRIBUTE]."] = None

    def __post_init__(self) -> None:
        if "" in (*(self.judge or []), self.perplexity, self.profile):
            raise InvalidSetting("got an empty name of a judge, a model or a reward, expected a name")


@final
@checked
@dataclass(frozen=True)
class PlotOptions:
    """How plots are written.

    Raises:
        InvalidSetting: there is no such format.
    """

    format: Annotated[
        list[str] | None,
        "Format of the plots: png, svg or pdf. Repeat for several; the report shows the first. Default: png and svg.",
    ] = None
    title: Annotated[str, "Title of the report, its plots and its tables. Default: what each of them shows."] = ""

    def __post_init__(self) -> None:
        if wrong := [kind for kind in self.format or [] if kind not in FORMATS]:
            raise InvalidSetting(f"got format={wrong[0]!r}, expected one of {', '.join(FORMATS)}")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, each once."""
        return tuple(dict.fromkeys(self.format or DEFAULT_FORMATS))
