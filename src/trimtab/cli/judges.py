"""Judges of searches, as typed on the command line: `self[:QUESTION]`, or NAME[:ATTRIBUTE or LABEL]=+1 or =-1."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.errors import InvalidSetting, RewardNotFound
from trimtab.rewards.catalogue import bundled_rewards
from trimtab.rewind.question import read_question

if TYPE_CHECKING:
    from trimtab.lm import LanguageModel
    from trimtab.rewind.judge import Judge

SELF = "self"
EXPECTED = (
    "expected self, self:truthfulness, self:sentiment, self:FILE.toml, or NAME=+1 (high is good) or NAME=-1 (high is "
    "bad) of a reward, vader, profanity, onnx:FOLDER or a text-classification model, as in toxicity=-1"
)


JudgeOption = Annotated[
    str,
    typer.Option(
        metavar="JUDGE",
        help="self[:QUESTION or FILE.toml] asks the model about its drafts (harmlessness, truthfulness, sentiment, "
        "requests); NAME=+1 or NAME=-1 of a reward or a classifier, whose high scores are good or bad.",
    ),
]
Soft = Annotated[bool, typer.Option("--judge-soft", help="A self-judge's probabilities count, not its answers.")]
Chat = Annotated[bool, typer.Option("--judge-chat", help="A self-judge is asked in the model's chat template.")]
Alone = Annotated[bool, typer.Option("--judge-alone", help="A reward judges the continuation without its prompt.")]


def parse_judge(text: str) -> tuple[str, float]:
    """Read a judge's name, and which way it points: 0 of a self-judge.

    Raises:
        InvalidSetting: it has neither form.
    """
    if text.partition(":")[0] == SELF:
        read_question(text.partition(":")[2] or "harmlessness")
        return text, 0.0
    name, equals, sign = text.rpartition("=")
    if not name or not equals or sign not in ("+1", "1", "-1"):
        raise InvalidSetting(f"got --judge {text!r}, {EXPECTED}")
    known = (*bundled_rewards(), "vader", "profanity")
    first = name.partition(":")[0]
    if first not in known and not Path(name).exists() and (close := get_close_matches(first, known)):
        raise InvalidSetting(f"got --judge {text!r}; did you mean {close[0]}={sign}?")
    return name, float(sign)


def load_search_judge(text: str, lm: "LanguageModel", chat: bool, soft: bool, alone: bool) -> "Judge":
    """The judge that was typed.

    Args:
        text: as typed.
        lm: what it judges.
        chat: a self-judge is asked in the chat template.
        soft: its probabilities count, not its answers.
        alone: a reward reads the continuation without its prompt.
    """
    from trimtab.rewind.judge import RewardJudge, TextJudge
    from trimtab.rewind.self_judge import SelfJudge

    name, sign = parse_judge(text)
    if not sign:
        return SelfJudge.named(name, chat, soft)
    if name.partition(":")[0] not in ("vader", "profanity", "onnx"):
        try:
            from trimtab.cli.steers import load_steers

            steer = load_steers([f"{name}={sign:+g}"], None, lm)
            assert steer is not None
            return RewardJudge(steer, alone)
        except RewardNotFound:
            pass
    from trimtab.evaluation.judges import load_judge
    from trimtab.evaluation.tasks import find_task

    found = load_judge(name, find_task("toxicity" if sign < 0 else "sentiment"))
    return TextJudge(found.score, found.name, avoid=sign < 0)
