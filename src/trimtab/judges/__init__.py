"""Judges score texts: classifiers, rewards, Python functions, and the language model itself."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.judges.base import Judge
    from trimtab.judges.draft import Draft
    from trimtab.judges.load import as_judge, load_judge
    from trimtab.judges.ranker import Ranker, load_ranker
    from trimtab.judges.reward_judge import RewardJudge
    from trimtab.judges.sandbox import Limits, Outcome, Report
    from trimtab.judges.self_judge import SelfJudge
    from trimtab.judges.steps import StepJudge
    from trimtab.judges.text_judges import FunctionJudge, TextJudge
    from trimtab.judges.unit_tests import UnitTests, load_tests

__all__ = [
    "Draft",
    "FunctionJudge",
    "Judge",
    "Limits",
    "Outcome",
    "Ranker",
    "Report",
    "RewardJudge",
    "SelfJudge",
    "StepJudge",
    "TextJudge",
    "UnitTests",
    "as_judge",
    "load_judge",
    "load_ranker",
    "load_tests",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Draft": "trimtab.judges.draft",
        "FunctionJudge": "trimtab.judges.text_judges",
        "Judge": "trimtab.judges.base",
        "Limits": "trimtab.judges.sandbox",
        "Outcome": "trimtab.judges.sandbox",
        "Ranker": "trimtab.judges.ranker",
        "Report": "trimtab.judges.sandbox",
        "RewardJudge": "trimtab.judges.reward_judge",
        "SelfJudge": "trimtab.judges.self_judge",
        "StepJudge": "trimtab.judges.steps",
        "TextJudge": "trimtab.judges.text_judges",
        "UnitTests": "trimtab.judges.unit_tests",
        "as_judge": "trimtab.judges.load",
        "load_judge": "trimtab.judges.load",
        "load_ranker": "trimtab.judges.ranker",
        "load_tests": "trimtab.judges.unit_tests",
    },
)
