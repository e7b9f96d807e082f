"""The options that name the judge of a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.completion import complete_judge
from trimtab.cli.console import error_console, legible
from trimtab.data.files import shown_path
from trimtab.errors import InvalidSetting
from trimtab.judges.figures import doubt_about
from trimtab.judges.notation import parse_judge
from trimtab.judges.question import SELF

if TYPE_CHECKING:
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel

__all__ = [
    "Alone",
    "JudgeChat",
    "JudgeOption",
    "JudgeSettings",
    "Soft",
    "check_judges",
    "load_search_judge",
    "warn_of_self_judge",
]

HELP = (
    "self asks the model about its own drafts; self:QUESTION asks about harmlessness, truthfulness, "
    "sentiment or requests; self:FILE.toml asks your own question. NAME=+1 is a reward or a classifier whose high "
    "scores are good; NAME=-1 is one whose high scores are bad. "
    "sentences:AGGREGATE:JUDGE scores the text after each sentence, lines:AGGREGATE:JUDGE after each line, and takes "
    "the min, mean, product, log-sum or last. "
    "tests:FILE runs the program in a draft, and the tests of a .py file, or of a table with columns prompt and tests; "
    "it needs --whole-drafts."
)
JudgeOption = Annotated[str, typer.Option(metavar="JUDGE", help=HELP, autocompletion=complete_judge)]
OptionalJudge = Annotated[
    str | None, typer.Option(metavar="JUDGE", help=HELP, autocompletion=complete_judge, show_default=SELF)
]
Soft = Annotated[
    bool, typer.Option("--judge-soft", help="Score by the probabilities of a self-judge's answers, not by the answers.")
]
JudgeChat = Annotated[bool, typer.Option("--judge-chat", help="Ask a self-judge in the model's chat template.")]
Alone = Annotated[bool, typer.Option("--judge-alone", help="Show a reward the continuation without its prompt.")]


@dataclass(frozen=True)
class JudgeSettings:
    """The judge of a search as it was typed; None for the model itself, which is then warned of."""

    judge: OptionalJudge = None
    judge_chat: JudgeChat = False
    judge_soft: Soft = False
    judge_alone: Alone = False

    @property
    def name(self) -> str:
        """The judge as text."""
        return SELF if self.judge is None else self.judge


def check_judges(names: Sequence[str], chat: bool = False, soft: bool = False, alone: bool = False) -> None:
    """Refuse judges of another form, and options that none of them reads.

    Raises:
        InvalidSetting: naming the judge or the option.
    """
    judges = [parse_judge(name) for name in names]
    given = " and ".join(f"--judge {shown_path(name)}" for name in names) or "no --judge"
    asked = [option for option, is_given in (("--judge-chat", chat), ("--judge-soft", soft)) if is_given]
    if asked and not any(judge.asks_model for judge in judges):
        raise InvalidSetting(f"got {asked[0]} with {given}, expected --judge self with it")
    if alone and not any(judge.may_be_reward for judge in judges):
        raise InvalidSetting(f"got --judge-alone with {given}, expected a reward as judge")


def warn_of_self_judge(model: str) -> None:
    """Print how well a model judges its own drafts, and what to use instead."""
    console = error_console()
    advice = "let a reward judge what it measures, as in --judge toxicity=-1, or choose the model by --judge self"
    console.print(legible(f"Warning: {doubt_about(model)}; {advice}", keep=""), markup=False, style="yellow")


def load_search_judge(
    text: str, lm: "LanguageModel", chat: bool, soft: bool, alone: bool, retokenize: bool = False
) -> "Judge":
    """Load the judge of a search. Arguments and errors as in `trimtab.judges.notation.judge_from_text`."""
    from trimtab.judges.notation import judge_from_text

    return judge_from_text(text, lm.engine.base, chat, soft, alone, retokenize)
