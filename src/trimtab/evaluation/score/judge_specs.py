"""Checks of judges and rewards by their names and files, before any weights load. No torch here."""

import importlib.util
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import InvalidData, InvalidSetting
from trimtab.judges.classifier_config import check_classifier_config
from trimtab.rewards import registry
from trimtab.rewards.card import RewardCard, read_card
from trimtab.rewards.expert_names import check_experts, names_experts
from trimtab.steering.notation import parse_reward

if TYPE_CHECKING:
    from trimtab.models.codec import TextCodec

LIBRARIES = {"vader": "vaderSentiment", "profanity": "profanity_check"}  # by the judge that needs it
EXTRA = "pip install 'trimtab[judges]'"
EXPECTED = "expected vader, profanity, onnx:FOLDER, reward:NAME, or a text-classification model's folder or Hub id"


def check_judges(specs: Sequence[str]) -> None:
    """Check what the names and files of judges tell.

    Args:
        specs: as in `trimtab.judges.load.load_judge`.

    Raises:
        InvalidSetting: a judge is named twice or wrongly, a library is not installed, or a folder lacks files.
        RewardNotFound, CorruptReward, UnknownAttribute: of a reward.
    """
    if twice := {spec for spec in specs if list(specs).count(spec) > 1}:
        raise InvalidSetting(f"got the judge {min(twice)!r} twice, expected different judges")
    for spec in specs:
        _check_judge(spec)


def check_guide(spec: str, codec: "TextCodec | None" = None, retokenize: bool = False) -> RewardCard | None:
    """Check a reward that may be experts, which have no card. Arguments and errors as in `check_reward`."""
    if names_experts(spec):
        check_experts(spec, codec)
        return None
    return check_reward(spec, codec, retokenize)


def check_reward(spec: str, codec: "TextCodec | None" = None, retokenize: bool = False) -> RewardCard:
    """Check NAME[:ATTRIBUTE] of a reward, and return its card; the weights too, once the tokenizer is known.

    Args:
        spec: the reward, and one of its attributes.
        codec: of the language model that it will steer; None if it reads texts alone.
        retokenize: whether it may have another tokenizer.

    Raises:
        RewardNotFound, CorruptReward, UnknownAttribute: of the reward.
        InvalidSetting: it has several attributes, and none is named.
        RewardMismatch: it was made for another tokenizer.
    """
    name, attribute = parse_reward(spec)
    known = codec is not None
    card = registry.check_reward(name, codec, retokenize) if known else read_card(registry.find_reward(name))
    card.chosen_index(name, attribute)
    return card


def _check_judge(spec: str) -> None:
    kind, _, rest = spec.partition(":")
    if spec in LIBRARIES:
        if importlib.util.find_spec(LIBRARIES[spec]) is None:
            raise InvalidSetting(f"the judge {spec!r} needs: {EXTRA}")
    elif kind == "reward" and rest:
        check_reward(rest)
    elif kind == "onnx" and rest:
        _check_onnx(spec, Path(parse_reward(rest)[0]))
    elif kind in ("reward", "onnx"):
        raise InvalidSetting(f"got the judge {spec!r}, {EXPECTED}")
    elif close := get_close_matches(spec, LIBRARIES):
        raise InvalidSetting(f"got the judge {spec!r}; did you mean {close[0]!r}?")
    else:
        _check_classifier(spec, parse_reward(spec)[0])


def _check_onnx(spec: str, folder: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        raise InvalidSetting(f"the judge {spec!r} needs: {EXTRA}")
    files = list(folder.glob("*.onnx")) if folder.is_dir() else []
    if len(files) != 1:
        raise InvalidSetting(f"got the judge {spec!r}, expected a folder with one .onnx file; it has {len(files)}")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise InvalidSetting(f"got the judge {spec!r}, expected a tokenizer.json or vocab.txt in its folder")


def _check_classifier(spec: str, model: str) -> None:
    """A folder has a classifier's config; anything else must be the form of a Hub id."""
    folder = Path(model)
    if folder.is_dir():
        try:
            check_classifier_config(folder)
        except InvalidData as error:
            raise InvalidSetting(f"got the judge {spec!r}, {EXPECTED} ({error})") from error
        return
    is_hub_id = bool(model) and model.count("/") <= 1 and all(c.isalnum() or c in "-_./" for c in model)
    if folder.exists() or not is_hub_id or model.startswith((".", "/")):
        raise InvalidSetting(f"got the judge {spec!r}, {EXPECTED}; there is no such folder")
