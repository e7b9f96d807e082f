"""The rewards and judges that `trimtab evaluate preference` measures: checked by name, then loaded."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from trimtab.cli.console import loading
from trimtab.cli.options import load_language_model
from trimtab.errors import InvalidSetting
from trimtab.models.dtypes import Dtype

if TYPE_CHECKING:
    from trimtab.data.preferences import Comparison
    from trimtab.evaluation.run.prompt_sets import Direction
    from trimtab.evaluation.score.preference_accuracy import Scores
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel

    Progress = Callable[[int, int], None]
    Score = Callable[[Sequence[Comparison], str, Progress], tuple[Scores, int]]


class Scorer(NamedTuple):
    """What scores answers.

    Attributes:
        score: comparisons, a template and a progress to the scores of all answers, and the number of texts that were
            cut to fit a context.
        made_of: what it is, for the record.
    """

    score: "Score"
    made_of: dict[str, Any]


class JudgeModel(NamedTuple):
    """The judges as they were typed, and the model that they ask."""

    judges: Sequence[str]
    model: str
    dtype: Dtype
    chat: bool
    soft: bool

    def early(self) -> "dict[str, Judge | None]":
        """Load the judges that need no language model; None stands for the others, whose names and cards are checked.

        Raises:
            InvalidSetting, RewardNotFound, RewardMismatch, CorruptReward: of a judge.
        """
        from trimtab.judges.notation import early_judge
        from trimtab.models.loading import load_codec

        if not self.judges:
            return {}
        with loading(self.model):
            codec = load_codec(self.model)
        found = {}
        for text in self.judges:
            with loading(f"the judge {text}"):
                found[text] = early_judge(text, codec, self.chat, self.soft)
            if text.startswith("tests:"):
                raise InvalidSetting(f"got the judge {text!r}, expected one that reads texts: it runs programs")
        return found

    def scorers(self, early: "dict[str, Judge | None]") -> dict[str, Scorer]:
        """Load the other judges, and the language model if one needs it."""
        from trimtab.judges.base import needs_of
        from trimtab.judges.notation import judge_from_text

        lm: LanguageModel | None = None
        if any(judge is None or needs_of(judge) for judge in early.values()):
            lm = load_language_model(self.model, self.dtype)
        with loading("judges"):
            judges = {
                text: judge or judge_from_text(text, lm.base if lm else None, self.chat, self.soft)
                for text, judge in early.items()
            }
        return {text: _of_judge(judge, lm) for text, judge in judges.items()}


def reward_scorer(spec: str, way: "Direction") -> Scorer:
    """The scorer of a reward NAME[:ATTRIBUTE] on its own base."""
    from trimtab.cli.sweep_command import load_one
    from trimtab.evaluation.score.preference_accuracy import score_comparisons

    reward, attribute = load_one(spec)
    return Scorer(
        partial(score_comparisons, reward, attribute, way),
        {
            **reward.describe(),
            "attribute": attribute or reward.attributes[0],
            "direction": way,
            "base": reward.base.name,
            "base_fingerprint": reward.base.base_fingerprint,
            "dtype": str(reward.base.model.dtype).removeprefix("torch."),
            "device": str(reward.base.device),
        },
    )


def _of_judge(judge: "Judge", lm: "LanguageModel | None") -> Scorer:
    from trimtab.evaluation.score.judge_preferences import score_by_judge
    from trimtab.judges.base import description_of, needs_of

    engine = lm.session().engine if lm is not None and needs_of(judge) else None
    about: dict[str, Any] = dict(description_of(judge))
    return Scorer(
        partial(score_by_judge, judge, engine), about if engine is None else about | {"model": engine.describe()}
    )
