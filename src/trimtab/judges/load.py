"""Judges by name, and judges from what users pass: a name, a steer, a function."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.json_text import dump_json
from trimtab.errors import InvalidSetting
from trimtab.judges.base import Judge
from trimtab.judges.classifiers import judge_name, profanity, text_classification, vader
from trimtab.judges.onnx_classifier import onnx_judge
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import FunctionJudge, TextJudge
from trimtab.rewards.any_reward import AnyReward
from trimtab.rewards.registry import load_reward
from trimtab.steering.notation import parse_reward
from trimtab.steering.steer import Steer

JudgeLike = str | Steer | Judge | Callable[[str, str], float]

NAMED_JUDGES = {"vader": vader, "profanity": profanity}


def as_judge(judge: object) -> Judge:
    """A judge from a `JudgeLike`.

    Args:
        judge: a judge; a Steer; a function of prompt and continuation that returns 0 (bad) to 1 (good); or "self",
            "self:QUESTION" or "self:FILE.toml".

    Raises:
        InvalidSetting: something else, or there is no such question.
    """
    if isinstance(judge, str):
        return SelfJudge.from_text(judge)
    if isinstance(judge, Steer):
        return RewardJudge(judge)
    if isinstance(judge, AnyReward):
        raise InvalidSetting(
            f"got the reward {shown(judge.name)} as a judge, expected reward.toward(1) or reward.away(1)"
        )
    if isinstance(judge, Judge) and not isinstance(judge, type):
        return judge
    if callable(judge):
        return FunctionJudge(judge)
    raise InvalidSetting(
        f"got judge={shown(judge)}, expected 'self', a Steer such as trimtab.reward('toxicity', lm).away(1), "
        "a function of prompt and continuation, or an object with a name and a score method"
    )


@checked
def load_judge(spec: str, labels: Sequence[str] = ()) -> TextJudge:
    """Load a judge that reads texts alone.

    Args:
        spec: `vader`, `profanity`, `onnx:FOLDER[:LABEL]`, `reward:NAME[:ATTRIBUTE]`, or `ID[:LABEL]` of a transformers
            text-classification model (a folder or a Hub id).
        labels: the labels to look for in a classifier if the spec names none, in lower case.

    Raises:
        InvalidSetting: a library that it needs is not installed, there is no such model, it has no such label, or a
            reward has several attributes and none is named.
        RewardNotFound, CorruptReward, UnknownAttribute: of a reward.
    """
    kind, _, rest = spec.partition(":")
    if spec in NAMED_JUDGES:
        return NAMED_JUDGES[spec]()
    if kind == "onnx" and rest:
        return onnx_judge(spec, *parse_reward(rest), labels)
    if kind == "reward" and rest:
        return _reward(*parse_reward(rest))
    if "/" not in spec and (close := get_close_matches(spec, NAMED_JUDGES)):
        raise InvalidSetting(f"got the judge {shown_path(spec)}; did you mean {close[0]!r}?")
    return text_classification(spec, *parse_reward(spec), labels)


def check_bounded(judge: TextJudge) -> TextJudge:
    """The judge, if its scores are from 0 to 1, as searches and evaluation need them.

    Raises:
        InvalidSetting: it is a regression model.
    """
    if not judge.bounded:
        raise InvalidSetting(
            f"got the judge {shown_path(judge.name)}, a regression model on the scale of its labels, expected scores "
            "from 0 to 1; rank drafts by it instead: lm.best_of(prompt, n, by=trimtab.judges.load_ranker(NAME))"
        )
    return judge


def _reward(name: str, attribute: str | None) -> TextJudge:
    """The reward of texts as a share, calibrated if its card can, by a reward on its own base."""
    model = load_reward(name)
    column = model.card.chosen_index(name, attribute)

    def classify(texts: Sequence[str]) -> list[float]:
        return model.shares(texts)[:, column].tolist()

    about = {
        "attribute": model.attributes[column],
        "fingerprint": model.fingerprint,
        "base_weights_fingerprint": model.base.weights_fingerprint,
        **({"calibration": dump_json(model.card.calibration[column])} if model.card.calibration else {}),
    }
    return TextJudge(judge_name("reward", name, attribute), classify, about=about)
