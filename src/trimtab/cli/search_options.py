"""The options of `trimtab rewind search` that name models, rewards and prompts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.judges import JudgeSettings, parse_judge
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
from trimtab.engines.engine_names import check_engine
from trimtab.rewards.heads import head_of_method
from trimtab.steering.notation import parse_steer

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

    def check(self, judge: str) -> None:
        """Refuse names and texts of another form before anything loads.

        Raises:
            InvalidSetting, InvalidData: of the judge, the steer or the method.
        """
        check_engine(self.engine)
        if self.method is not None:
            head_of_method(self.method)
        parse_judge(judge)
        for text in self.steer or []:
            parse_steer(text)

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
