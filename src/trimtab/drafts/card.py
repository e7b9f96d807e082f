"""The card of a draft head: its language model, its shape, how it was trained and how often it is right."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, final

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import is_file
from trimtab.errors import CorruptReward, InvalidData, InvalidSetting, RewardMismatch
from trimtab.rewards.taps import check_ladder_width

CARD_FILE = "config.json"
WEIGHTS_FILE = "draft.safetensors"
README_FILE = "README.md"
KIND = "draft head"
MAX_SIZE = 1_000_000
AGAIN = "fetch or train the draft head again"


@final
@checked
@dataclass(frozen=True)
class DraftCard:
    """Everything about a draft head except its weights; saved as config.json.

    Attributes:
        base: the language model that it drafts for, by the name that `trimtab.load` takes.
        base_fingerprint: a hash of that model's shapes and of its first output embeddings.
        base_weights_fingerprint: a hash of its shapes and of a sample of every weight.
        tokenizer_fingerprint: a hash of its vocabulary.
        tokens: how many tokens it can draft.
        taps: the depths of the model that it reads, ascending.
        width, heads: the size of its states, and the attention heads of its layer.
        provenance: the data, the command and the settings of the training.
        quality: how often it is right on held-out texts.
        weights_dtype, weights_sha256: of the file of weights; None before they are saved.
        kind: "draft head".
    """

    base: str
    base_fingerprint: str
    base_weights_fingerprint: str
    tokenizer_fingerprint: str
    tokens: int
    taps: tuple[int, ...]
    width: int
    heads: int
    provenance: dict[str, object] = field(default_factory=dict)
    quality: dict[str, object] = field(default_factory=dict)
    weights_dtype: str | None = field(default=None, compare=False)
    weights_sha256: str | None = field(default=None, compare=False)
    kind: str = KIND

    def __post_init__(self) -> None:
        for name in ("tokens", "width", "heads"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {MAX_SIZE}")
        check_ladder_width(self.width, self.heads)
        if not self.taps or list(self.taps) != sorted(set(self.taps)) or self.taps[0] < 1:
            raise InvalidSetting(f"got taps={shown(self.taps)}, expected ascending depths")
        if self.kind != KIND:
            raise InvalidSetting(f"got kind={shown(self.kind)}, expected {KIND!r}")

    def check_base(self, name: str, base: str, weights_fingerprint: str) -> None:
        """Check that a model has the weights that the head was trained on: another's states mean nothing to it.

        Args:
            name: the head's name, for the message.
            base: the model's name, for the message.
            weights_fingerprint: the model's `base_weights_fingerprint`.

        Raises:
            RewardMismatch: it has others.
        """
        if weights_fingerprint != self.base_weights_fingerprint:
            raise RewardMismatch(
                f"the draft head {shown(name)} was trained on weights {self.base_weights_fingerprint} "
                f"(of {self.base}), {shown(base)} has {weights_fingerprint}; train one for it: "
                f"trimtab train draft --base {shown(base)}"
            )

    def to_json(self) -> str:
        """The text of config.json."""
        return dump_json(asdict(self), indent=2) + "\n"


def read_draft_card(folder: Path) -> DraftCard:
    """Read the card of a saved draft head.

    Raises:
        CorruptReward: the folder has no card, or the card cannot be read.
    """
    path = folder / CARD_FILE
    if not is_file(path):
        raise CorruptReward(f"got {shown_path(folder)}, expected the folder of a draft head; it has no {CARD_FILE}")
    try:
        return DraftCard(**_fields_of(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptReward(f"cannot read {shown_path(path)}: {reason_of(error)}; {AGAIN}") from error
    except (InvalidData, InvalidSetting, TypeError) as error:
        raise CorruptReward(f"{shown_path(path)} is not the card of a draft head: {error}; {AGAIN}") from error


def is_draft_folder(folder: Path) -> bool:
    """Whether a folder looks like a draft head: it has the weights of one, or a card that says so."""
    if is_file(folder / WEIGHTS_FILE):
        return True
    try:
        return bool(parse_json((folder / CARD_FILE).read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, UnicodeDecodeError, InvalidData, AttributeError):
        return False


def _fields_of(text: str) -> dict[str, Any]:
    values = parse_json(text)
    if not isinstance(values, dict):
        raise InvalidData(f"got {shown(values)}, expected an object")
    if unknown := sorted(set(values) - {each.name for each in fields(DraftCard)}):
        raise InvalidData(f"got unknown fields: {shown(', '.join(unknown))}")
    if isinstance(taps := values.get("taps"), list):
        values["taps"] = tuple(taps)
    return values
