"""The options of `trimtab rewind search` that name models, rewards and prompts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.generate_checks import check_writers
from trimtab.cli.judges import JudgeSettings, check_judges
from trimtab.cli.options import (
    Chat,
    DtypeOption,
    EngineOption,
    Method,
    Model,
    Retokenize,
    Seed,
    SteerOption,
    Stop,
    System,
)
from trimtab.cli.prompt_file import resolve_seed
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.jobs import RewindJob
    from trimtab.rewind.rewind_settings import Budget, RewindSettings


@dataclass(frozen=True)
class SearchOptions:
    """What writes the texts of a search, and how prompts are sent."""

    model: Model = "smollm2"
    dtype: DtypeOption = "auto"
    engine: EngineOption = "torch"
    steer: SteerOption = None
    method: Method = None
    retokenize: Retokenize = False
    similarity: Annotated[
        str,
        typer.Option(help="Compares branches: lm (the model's hidden states), off, or a sentence-transformers model."),
    ] = "lm"
    stop: Stop = None
    seed: Seed = None
    chat: Chat = False
    system: System = None

    def check(self, settings: "RewindSettings", judging: JudgeSettings, draft: str | None) -> None:
        """Refuse names and texts of another form, and options that nothing would read, before anything loads.

        Args:
            settings: of the search.
            judging: the judge and its options.
            draft: of --draft.

        Raises:
            InvalidSetting, InvalidData: of the engine, the drafts, the judge, the steer or the method.
        """
        steer, sampling = self.steer or [], SamplingParams(speculate=settings.speculate)
        check_writers(steer, self.method, self.engine, False, sampling, draft)
        if settings.max_kl is not None and not steer:
            raise InvalidSetting("got --max-kl without --steer, expected a steer to hold to the budget")
        check_judges([judging.name], judging.judge_chat, judging.judge_soft, judging.judge_alone)

    def job(
        self, settings: "RewindSettings", budget: "Budget", judging: JudgeSettings, target: Path | None
    ) -> "RewindJob":
        """The job of these options. The seed is the one that was typed, that an interrupted run drew, or a new one.

        Raises:
            InvalidSetting: one of the options is refused.
            InvalidData: the settings beside `target` cannot be read.
        """
        from trimtab.jobs import RewindJob

        typed = asdict(self)
        typed |= {"steer": tuple(self.steer or ()), "stop": tuple(self.stop or ())}
        typed |= {"seed": resolve_seed(self.seed, target)}
        return RewindJob(**typed, **asdict(judging) | {"judge": judging.name}, settings=settings, budget=budget)
