"""Steer frozen language models while they write: guide with RAD and ARM rewards, rewind with RAIN.

lm = trimtab.load("smollm2")
calm = trimtab.reward("toxicity", lm).away(beta=30)
print(lm.generate("The new neighbours are", steer=calm).text)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trimtab.engines.processor import SteeringProcessor
    from trimtab.errors import TrimtabError
    from trimtab.generation import Generation
    from trimtab.lm import LanguageModel, load, reward
    from trimtab.rewards.model import RewardModel
    from trimtab.rewind.result import Rewound
    from trimtab.rewind.settings import Budget, RewindSettings
    from trimtab.steering.steer import Steer

__version__ = "0.1.0"
__all__ = [
    "Budget",
    "Generation",
    "LanguageModel",
    "RewardModel",
    "RewindSettings",
    "Rewound",
    "Steer",
    "SteeringProcessor",
    "TrimtabError",
    "load",
    "reward",
]

_HOMES = {
    "Budget": "trimtab.rewind.settings",
    "Generation": "trimtab.generation",
    "LanguageModel": "trimtab.lm",
    "RewardModel": "trimtab.rewards.model",
    "RewindSettings": "trimtab.rewind.settings",
    "Rewound": "trimtab.rewind.result",
    "Steer": "trimtab.steering.steer",
    "SteeringProcessor": "trimtab.engines.processor",
    "TrimtabError": "trimtab.errors",
    "load": "trimtab.lm",
    "reward": "trimtab.lm",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import trimtab` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
