"""Judges of searches as text: `self[:QUESTION]`, or NAME[:ATTRIBUTE or LABEL]=+1 or =-1. No torch at import.

`sentences:AGGREGATE:JUDGE` and `lines:AGGREGATE:JUDGE` aggregate a judge's scores over steps. `tests:FILE` runs code.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, final

from trimtab.data.files import shown_path
from trimtab.errors import InvalidSetting, RewardNotFound
from trimtab.judges.classifier_config import names_classifier
from trimtab.judges.question import SELF, question_of
from trimtab.judges.step_scores import STEP_ENDS, check_steps
from trimtab.rewards.registry import bundled_rewards, check_steers
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.judges.base import Judge
    from trimtab.models.codec import TextCodec
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.steering.steer import Steer

CLASSIFIERS = ("vader", "profanity", "onnx")
TOXIC = ("toxic", "toxicity", "hate", "offensive")  # labels of classifiers
POSITIVE = ("positive", "pos")
UNIT_TESTS = "tests"
EXPECTED = (
    "expected self, self:truthfulness, self:sentiment, self:FILE.toml, or NAME=+1 (high is good) or NAME=-1 (high is "
    "bad) of a reward, vader, profanity, onnx:FOLDER or a text-classification model, as in toxicity=-1; for steps, "
    "sentences:AGGREGATE:JUDGE or lines:AGGREGATE:JUDGE; for code, tests:FILE"
)


@final
@dataclass(frozen=True)
class JudgeText:
    """A judge as it was written.

    Attributes:
        name: `self[:QUESTION]`, `tests:FILE`, or the name of a reward or a classifier.
        sign: +1 if high scores are good, −1 if they are bad; None for a self-judge and for tests.
        steps: the kind of steps and the aggregate; None for a judge of whole texts.
    """

    name: str
    sign: int | None
    steps: tuple[str, str] | None = None

    @property
    def asks_model(self) -> bool:
        """Whether the model judges its own drafts."""
        return self.sign is None and self.name.partition(":")[0] == SELF

    @property
    def may_be_reward(self) -> bool:
        """Whether the name may be that of a reward."""
        return self.sign is not None and self.name.partition(":")[0] not in CLASSIFIERS


def parse_judge(text: str) -> JudgeText:
    """Read `self[:QUESTION]`, `tests:FILE`, NAME=+1 or NAME=-1, each behind `sentences:AGGREGATE:` or the like, or not.

    Raises:
        InvalidSetting: the text has another form, or names a question that does not exist.
    """
    kind, _, rest = text.partition(":")
    if kind in STEP_ENDS:
        aggregate, _, inner = rest.partition(":")
        check_steps(kind, aggregate)
        return replace(parse_judge(inner), steps=(kind, aggregate))
    if kind == SELF:
        question_of(text)
        return JudgeText(text, None)
    if kind == UNIT_TESTS and rest:
        return JudgeText(text, None)
    name, _, sign = text.rpartition("=")
    if not name or sign not in ("+1", "1", "-1"):
        raise InvalidSetting(f"got the judge {shown_path(text)}, {EXPECTED}")
    known = (*bundled_rewards(), "vader", "profanity")
    first, model = name.partition(":")[0], parse_reward(name)[0]
    named = first in known or "/" in model or _is_path(model)
    if not named and (close := get_close_matches(first, known)):
        raise InvalidSetting(f"got the judge {shown_path(text)}; did you mean {close[0]}={sign}?")
    return JudgeText(name, int(sign))


def early_judge(
    text: str, codec: "TextCodec", chat: bool = False, soft: bool = False, retokenize: bool = False
) -> "Judge | None":
    """Load a judge before any language model, if it needs none; None for a reward, whose card is checked.

    Args:
        text: as `parse_judge` reads it.
        codec: of the model that will write.
        chat, soft, retokenize: as in `judge_from_text`.

    Raises:
        InvalidSetting: as in `judge_from_text`, or a question in a chat, and the model has no chat template.
        UnsupportedModel: the tokenizer has no token for a letter of the question.
        RewardMismatch, UnknownAttribute, CorruptReward: of a reward.
    """
    from trimtab.judges.self_judge import SelfJudge, tokenize_question

    def check(steer: str) -> None:
        check_steers([steer], None, codec, retokenize)

    judge = _judge_of(text, chat, soft, check)
    if isinstance(judge, SelfJudge):
        tokenize_question(codec, judge.question, chat)
    return judge


def judge_from_text(
    text: str,
    base: "FrozenLM | None" = None,
    chat: bool = False,
    soft: bool = False,
    alone: bool = False,
    retokenize: bool = False,
) -> "Judge":
    """Load the judge of a search. A name that is no reward's is a classifier's.

    Args:
        text: as `parse_judge` reads it.
        base: the model that writes; a reward on it shares its weights. None: a reward loads its own base.
        chat: ask a self-judge in the model's chat template.
        soft: score by the probabilities of a self-judge's answers.
        alone: show a reward the continuation without its prompt.
        retokenize: let a reward of another tokenizer judge, see `trimtab.rewards.registry.load_any`.

    Raises:
        InvalidSetting: as in `parse_judge` and `load_judge`.
        RewardMismatch: the reward was made for another tokenizer.
    """
    from trimtab.judges.reward_judge import RewardJudge
    from trimtab.rewards.registry import load_steers

    def load(text: str) -> "Judge":
        steer = load_steers([text], base=base, retokenize=retokenize)
        assert steer is not None
        return RewardJudge(steer, alone)

    judge = _judge_of(text, chat, soft, load)
    assert judge is not None
    return judge


def ranks_by_reward(text: str, early: "Judge | None") -> bool:
    """Whether a text, and what `early_judge` made of it, names a reward whose unclamped values rank drafts."""
    return early is None and parse_judge(text).steps is None


def ranking_from_text(
    text: str, early: "Judge | None", base: "FrozenLM | None" = None, retokenize: bool = False
) -> "Steer | Judge":
    """Load what ranks drafts: a reward as a Steer, whose values are not clamped, or a judge.

    Args:
        text: as `parse_judge` reads it.
        early: what `early_judge` made of it.
        base, retokenize: as in `judge_from_text`. Errors as there.
    """
    from trimtab.rewards.registry import load_steers

    if early is not None:
        return early
    if not ranks_by_reward(text, early):
        return judge_from_text(text, base, retokenize=retokenize)
    steer = load_steers([text], base=base, retokenize=retokenize)
    assert steer is not None
    return steer


def _judge_of(text: str, chat: bool, soft: bool, of_reward: "Callable[[str], Judge | None]") -> "Judge | None":
    """The judge that a text names; of a reward what `of_reward` returns for its steer."""
    from trimtab.judges.self_judge import SelfJudge

    typed = parse_judge(text)
    if typed.steps is not None:
        from trimtab.judges.steps import StepJudge

        steps, aggregate = typed.steps
        inner = _judge_of(text.split(":", 2)[2], chat, soft, of_reward)
        return None if inner is None else StepJudge(inner, aggregate, steps)
    if typed.name.partition(":")[0] == UNIT_TESTS:
        from trimtab.judges.unit_tests import load_tests

        return load_tests(typed.name.partition(":")[2])
    if typed.sign is None:
        return SelfJudge.from_text(typed.name, chat, soft)
    model, _ = parse_reward(typed.name)
    if typed.name.partition(":")[0] in CLASSIFIERS or (model not in bundled_rewards() and names_classifier(model)):
        return _classifier(typed.name, typed.sign)
    try:
        return of_reward(f"{typed.name}={typed.sign:+d}")
    except RewardNotFound:
        return _classifier(typed.name, typed.sign)


def _is_path(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _classifier(name: str, sign: int) -> "Judge":
    from trimtab.judges.load import check_bounded, load_judge

    judge = check_bounded(load_judge(name, POSITIVE if sign > 0 else TOXIC))
    return judge if sign > 0 else replace(judge, avoid=True, threshold=1 - judge.threshold)
