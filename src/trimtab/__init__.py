"""Steer frozen language models while they write: guide with RAD and ARM rewards, rewind with RAIN.

lm = trimtab.load("smollm2")
calm = trimtab.reward("toxicity", lm).away(beta=30)
print(lm.generate("My first day at work was", steer=calm).text)
"""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.best_of import RankedDrafts
    from trimtab.best_of_settings import Segments
    from trimtab.engines.custom_generate import custom_generate
    from trimtab.engines.processor import SteeringProcessor
    from trimtab.engines.sampling_params import SamplingParams
    from trimtab.errors import TrimtabError
    from trimtab.generation import Generation
    from trimtab.language_model import LanguageModel
    from trimtab.loading import experts, from_transformers, load, reward
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.rewind.result import SearchResult
    from trimtab.rewind.rewind_settings import Budget, RewindSettings
    from trimtab.steering.steer import Steer

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "Generation",
    "LanguageModel",
    "RankedDrafts",
    "RewardModel",
    "RewindSettings",
    "SamplingParams",
    "SearchResult",
    "Segments",
    "Steer",
    "SteeringProcessor",
    "TrimtabError",
    "custom_generate",
    "experts",
    "from_transformers",
    "load",
    "reward",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Budget": "trimtab.rewind.rewind_settings",
        "Generation": "trimtab.generation",
        "LanguageModel": "trimtab.language_model",
        "RankedDrafts": "trimtab.best_of",
        "RewardModel": "trimtab.rewards.reward_model",
        "RewindSettings": "trimtab.rewind.rewind_settings",
        "SamplingParams": "trimtab.engines.sampling_params",
        "SearchResult": "trimtab.rewind.result",
        "Segments": "trimtab.best_of_settings",
        "Steer": "trimtab.steering.steer",
        "SteeringProcessor": "trimtab.engines.processor",
        "TrimtabError": "trimtab.errors",
        "custom_generate": "trimtab.engines.custom_generate",
        "experts": "trimtab.loading",
        "from_transformers": "trimtab.loading",
        "load": "trimtab.loading",
        "reward": "trimtab.loading",
    },
)
