"""The card of a reward: what it is, what it belongs to, how it was made and how good it measured."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, final

from trimtab.errors import CorruptReward, InvalidSetting, UnknownAttribute

CARD_FILE = "config.json"
SCHEMA_VERSION = 1
HeadKind = Literal["q", "v"]
TrunkTraining = Literal["frozen", "lora", "full"]
Link = Literal["identity", "sigmoid"]


@final
@dataclass(frozen=True)
class RewardCard:
    """Everything about a reward but its weights; saved as config.json.

    Attributes:
        base: the language model whose layers are the trunk, as `trimtab.load` takes it.
        base_fingerprint: a hash of that model's shapes and a sample of its weights.
        tokenizer_fingerprint: a hash of its vocabulary.
        layers: how many of its layers the trunk has.
        head: "q" (ARM) or "v" (RAD).
        attributes: what the rewards are called, in order; the first is the default.
        trunk: how the trunk was trained.
        rank: the rank of a Q-head's marginal.
        baseline: whether a Q-head adds the prefix's baseline.
        lora_rank, lora_alpha: the adapters' settings, for a "lora" trunk.
        link: "identity", or "sigmoid" for a head trained by cross-entropy.
        clamp: the range to which a reward is clamped before it steers; None for a head trained on differences.
        bos_token_id: the token put before every text; None if texts are fed bare.
        provenance: data, command and settings of the training.
        quality: what was measured, on which data.
    """

    base: str
    base_fingerprint: str
    tokenizer_fingerprint: str
    layers: int
    head: HeadKind
    attributes: tuple[str, ...]
    trunk: TrunkTraining = "lora"
    rank: int = 64
    baseline: bool = True
    lora_rank: int = 16
    lora_alpha: int = 32
    link: Link = "identity"
    clamp: tuple[float, float] | None = (0.0, 1.0)
    bos_token_id: int | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        choices = {"head": ("q", "v"), "trunk": ("frozen", "lora", "full"), "link": ("identity", "sigmoid")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InvalidSetting(f"got {name}={getattr(self, name)!r}, expected {' or '.join(allowed)}")
        for name in ("layers", "rank", "lora_rank"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"got {name}={getattr(self, name)}, expected at least 1")
        if not all(self.attributes) or not 0 < len(self.attributes) == len(set(self.attributes)):
            raise InvalidSetting(f"got attributes {self.attributes}, expected one or more different names")
        if self.clamp is not None and not -math.inf < self.clamp[0] < self.clamp[1] < math.inf:
            raise InvalidSetting(f"got clamp={self.clamp}, expected (low, high), both finite and low < high")

    def attribute_index(self, attribute: str | None) -> int:
        """The column of an attribute; the first for None.

        Raises:
            UnknownAttribute: the reward has none of that name.
        """
        if attribute is None:
            return 0
        if attribute not in self.attributes:
            raise UnknownAttribute(f"got attribute {attribute!r}, expected one of: {', '.join(self.attributes)}")
        return self.attributes.index(attribute)

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RewardCard":
        """Read config.json.

        Raises:
            CorruptReward: not JSON, fields missing or unknown, or a newer schema.
        """
        try:
            values = json.loads(text)
            if (version := values.get("schema_version")) != SCHEMA_VERSION:
                raise CorruptReward(f"got a reward of schema {version}, expected {SCHEMA_VERSION}; upgrade trimtab")
            unknown = set(values) - {f.name for f in fields(cls)}
            if unknown:
                raise CorruptReward(f"got unknown fields in config.json: {', '.join(sorted(unknown))}")
            if not isinstance(values["attributes"], list):
                raise CorruptReward(f"got attributes {values['attributes']!r} in config.json, expected a list of names")
            values["attributes"] = tuple(values["attributes"])
            values["clamp"] = None if values["clamp"] is None else tuple(values["clamp"])
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptReward(f"config.json is not a reward's card: {error}") from error


def read_card(folder: Path) -> RewardCard:
    """The card of a saved reward.

    Raises:
        CorruptReward: there is none, or it cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise CorruptReward(f"got {str(folder)!r}, expected a reward's folder; it has no {CARD_FILE}")
    try:
        return RewardCard.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CorruptReward(f"cannot read {str(path)!r}: {error}") from error
