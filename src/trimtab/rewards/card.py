"""The card of a reward: its base, its head, its attributes, how it was trained and how good it is."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, final

from trimtab.errors import CorruptReward, InvalidSetting, RewardMismatch, UnknownAttribute
from trimtab.rewards.heads import head_kind

CARD_FILE = "config.json"
SCHEMA_VERSION = 1
TrunkTraining = Literal["frozen", "lora", "full"]
Link = Literal["identity", "sigmoid"]


@final
@dataclass(frozen=True)
class RewardCard:
    """Everything about a reward except its weights; saved as config.json.

    Attributes:
        base: the language model whose layers are the trunk, by the name that `trimtab.load` takes.
        base_fingerprint: a hash of that model's shapes and a sample of its weights.
        tokenizer_fingerprint: a hash of its vocabulary.
        layers: how many of the base's layers the trunk has.
        head: "q" (ARM), "v" (RAD), or another name in `trimtab.rewards.heads.HEADS`.
        attributes: the names of the rewards, in order; the first is the default.
        trunk: how the trunk was trained.
        rank: the rank of a Q-head's marginal.
        baseline: whether a Q-head adds the prefix's baseline. Without it, the rewards are differences.
        lora_rank, lora_alpha: the settings of the adapters of a "lora" trunk.
        link: "identity", or "sigmoid" for a head trained by cross-entropy.
        clamp: the range to which a reward is clamped before it steers; None for no clamp.
        bos_token_id: the token put before every text; None for none.
        provenance: the data, the command and the settings of the training.
        quality: figures on held-out data, and the name of the data.
        schema_version: the version of this layout.
    """

    base: str
    base_fingerprint: str
    tokenizer_fingerprint: str
    layers: int
    head: str
    attributes: tuple[str, ...]
    trunk: TrunkTraining = "lora"
    rank: int = 64
    baseline: bool = True
    lora_rank: int = 16
    lora_alpha: int = 32
    link: Link = "identity"
    clamp: tuple[float, float] | None = (0.0, 1.0)
    bos_token_id: int | None = None
    provenance: dict[str, object] = field(default_factory=dict)
    quality: dict[str, object] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        head_kind(self.head)  # or it raises
        choices = {"trunk": ("frozen", "lora", "full"), "link": ("identity", "sigmoid")}
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
            UnknownAttribute: the reward has no attribute of that name.
        """
        if attribute is None:
            return 0
        if attribute not in self.attributes:
            raise UnknownAttribute(f"got attribute {attribute!r}, expected one of: {', '.join(self.attributes)}")
        return self.attributes.index(attribute)

    def check_tokenizer(self, name: str, fingerprint: str) -> None:
        """Check that a tokenizer's ids mean the tokens that the reward was trained on.

        Args:
            name: the reward's name, for the message.
            fingerprint: of the tokenizer.

        Raises:
            RewardMismatch: the fingerprints differ.
        """
        if fingerprint != self.tokenizer_fingerprint:
            raise RewardMismatch(
                f"reward {name!r} was trained for the tokenizer {self.tokenizer_fingerprint} (of {self.base}), the "
                f"language model has {fingerprint}; train a reward for that model: trimtab train labels --base MODEL"
            )

    def to_json(self) -> str:
        """The text of config.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RewardCard":
        """Read config.json.

        Raises:
            CorruptReward: the text is not JSON, lacks a field, has an unknown one, or has a newer schema.
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
            raise CorruptReward(f"config.json is not a reward card: {error}") from error


def read_card(folder: Path) -> RewardCard:
    """Read the card of a saved reward.

    Raises:
        CorruptReward: the folder has no card, or the card cannot be read.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise CorruptReward(f"got {str(folder)!r}, expected the folder of a reward; it has no {CARD_FILE}")
    try:
        return RewardCard.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CorruptReward(f"cannot read {str(path)!r}: {error}") from error
