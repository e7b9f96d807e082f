"""The schema of a row's file: what its first line and the lines of its texts must hold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

SETTINGS: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "model": (str,),
    "dtype": (str,),
    "prompts": (str,),
    "prompts_digest": (str,),
    "prompts_count": (int,),
    "direction": (str,),
    "method": (str,),
    "samples": (int,),
    "max_new_tokens": (int,),
    "top_k": (int,),
    "temperature": (int, float),
    "seed": (int,),
}
NUMBERS = (int, float)
LARGEST = 1e300  # so that sums stay finite


def settings_fault(settings: Any) -> str:
    """Return what is wrong with the settings of a row; empty if nothing is."""
    if not isinstance(settings, dict):
        return "its first line has no settings"
    for name, kinds in SETTINGS.items():
        if type(settings.get(name)) not in kinds:
            return f"the setting {name!r} is {_shown(settings.get(name))}, expected {kinds[-1].__name__}"
    if settings["samples"] < 1 or settings["prompts_count"] < 1:
        return "the settings 'samples' and 'prompts_count' must be at least 1"
    if settings["direction"] not in ("up", "down"):
        return f"the setting 'direction' is {_shown(settings['direction'])}, expected 'up' or 'down'"
    if "beta" not in settings or not (settings["beta"] is None or _is_number(settings["beta"])):
        return f"the setting 'beta' is {_shown(settings.get('beta', 'missing'))}, expected a number or null"
    if type(settings.get("chat", False)) is not bool:
        return f"the setting 'chat' is {_shown(settings['chat'])}, expected true or false"
    if not isinstance(settings.get("system"), str | None):
        return f"the setting 'system' is {_shown(settings['system'])}, expected a text or null"
    if (drafts := settings.get("drafts")) is not None and type(drafts) is not int:
        return f"the setting 'drafts' is {_shown(drafts)}, expected a whole number"
    rewards = settings.get("rewards", [])
    if not isinstance(rewards, list) or not all(isinstance(each, list) and each for each in rewards):
        return f"the setting 'rewards' is {_shown(rewards)}, expected a list of rewards"
    return ""


def text_fault(text: Mapping[str, Any]) -> str:
    """Return what is wrong with the line of a text; empty if nothing is."""
    for name, is_right in TEXT.items():
        if name not in text:
            return f"it has no {name!r}"
        if not is_right(text[name]):
            return f"{name!r} is {_shown(text[name])}"
    if len({len(text[name]) for name in ("token_ids", "base_logprobs", "kl", "flips")}) > 1:
        return "it has not one 'base_logprobs', 'kl' and 'flips' for each token"
    return ""


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) in NUMBERS and -LARGEST < value < LARGEST


def _are_numbers(values: Any) -> bool:
    return isinstance(values, Sequence) and all(map(_is_number, values))


def _are_counts(values: Any) -> bool:
    return isinstance(values, Sequence) and all(map(_is_count, values))


TEXT: dict[str, Callable[[Any], bool]] = {
    "place": _is_count,
    "sample": _is_count,
    "prompt": _is_text,
    "text": _is_text,
    "token_ids": _are_counts,
    "base_logprobs": _are_numbers,
    "kl": _are_numbers,
    "flips": _are_numbers,
    "encoded": _is_number,
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
