"""The options that name the judge of a search."""

from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.judges.notation import parse_judge

if TYPE_CHECKING:
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel

__all__ = ["Alone", "JudgeChat", "JudgeOption", "Soft", "load_search_judge", "parse_judge"]

JudgeOption = Annotated[
    str,
    typer.Option(
        metavar="JUDGE",
        help="self asks the model about its own drafts; self:QUESTION asks about harmlessness, truthfulness, "
        "sentiment or requests; self:FILE.toml asks your own question. NAME=+1 is a reward or a classifier whose high "
        "scores are good; NAME=-1 is one whose high scores are bad.",
    ),
]
Soft = Annotated[
    bool, typer.Option("--judge-soft", help="Score by the probabilities of a self-judge's answers, not by the answers.")
]
JudgeChat = Annotated[bool, typer.Option("--judge-chat", help="Ask a self-judge in the model's chat template.")]
Alone = Annotated[bool, typer.Option("--judge-alone", help="Show a reward the continuation without its prompt.")]


def load_search_judge(text: str, lm: "LanguageModel", chat: bool, soft: bool, alone: bool) -> "Judge":
    """Load the judge of a search. Arguments and errors as in `trimtab.judges.notation.judge_from_text`."""
    from trimtab.judges.notation import judge_from_text

    return judge_from_text(text, lm.engine.base, chat, soft, alone)
