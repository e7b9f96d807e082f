"""The card of a reward: its base, its head, its attributes, how it was trained and how good it is."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, final

from trimtab.checking import checked, shown
from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import is_file
from trimtab.data.tables import hash_of_file
from trimtab.data.visible import legible
from trimtab.errors import CorruptReward, InvalidData, InvalidSetting, RewardMismatch, UnknownAttribute
from trimtab.models.text_fingerprint import text_fingerprint
from trimtab.rewards.heads import head_class, head_kind

CARD_FILE = "config.json"
WEIGHTS_FILE = "reward.safetensors"
README_FILE = "README.md"
SCHEMA_VERSION = 2
OLD_SCHEMAS = (1,)  # read, but not written: their cards may lack hashes
HASHES = {  # every saved card of this schema has them
    "weights_sha256": "checksum of its weights",
    "base_weights_fingerprint": "hash of its base's weights",
}
MAX_SIZE = 1_000_000  # of a rank, a number of layers or an alpha
AGREEMENT = "agreement_over"  # how the names of figures about a teacher begin
SOURCES = "sources:"  # how the names of figures before and after a calibration begin
MAX_REWARD = 1e30  # float32 holds it
MAX_DEPTH = 20  # of objects and lists within each other
NOT_DECIDING = ("base", "calibration", "provenance", "quality", "weights_dtype", "schema_version", *HASHES)
OF_LADDERS = ("taps", "ladder_width", "ladder_heads")
OF_DATASTORES = ("keys", "neighbours", "distance_temperature", "mix")
TrunkTraining = Literal["frozen", "ladder", "lora", "full"]
Link = Literal["identity", "sigmoid"]


class UncheckedReward(UserWarning):
    """A reward is used although its card, of an older version, has no hash of its weights or of its base's."""


@final
@checked
@dataclass(frozen=True)
class RewardCard:
    """Everything about a reward except its weights; saved as config.json.

    Attributes:
        base: the language model whose layers are the trunk, by the name that `trimtab.load` takes.
        base_fingerprint: a hash of that model's shapes and of its first output embeddings.
        base_weights_fingerprint: a hash of its shapes and of a sample of every weight; None in cards of older versions.
        tokenizer_fingerprint: a hash of its vocabulary.
        layers: how many of the base's layers the trunk has, or a ladder reads.
        head: "q" (ARM), "v" (RAD), or another name in `trimtab.rewards.heads.HEADS`.
        attributes: the names of the rewards, in order; the first is the default.
        trunk: how the trunk was trained.
        rank: the rank of a Q-head's marginal.
        baseline: whether a Q-head adds the prefix's baseline. Without it, the rewards are differences.
        lora_rank, lora_alpha: the settings of the adapters of a "lora" trunk.
        taps: the depths that a "ladder" reads, one for each of its layers; the last is `layers`. Empty for others.
        ladder_width, ladder_heads: the size of a ladder's states, and its attention heads.
        link: "identity", or "sigmoid" for a head trained by cross-entropy.
        clamp: the range to which a reward is clamped before it steers; None for no clamp.
        bos_token_id: the token put before every text; None for none.
        calibration: for each attribute, the scale and the shift that make its reward a share of texts, as
            `trimtab.rewards.shares` does; empty if it is not calibrated. Steering does not use it.
        provenance: the data, the command and the settings of the training.
        quality: figures on held-out data, and the name of the data.
        weights_dtype: the number format of the saved weights; None before they are saved.
        weights_sha256: the hash of the file of weights, which is checked when it is loaded; None before they are saved,
            and in cards of older versions. Cards are compared without the dtype and without hashes of weights.
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
    taps: tuple[int, ...] = ()
    ladder_width: int = 192
    ladder_heads: int = 3
    keys: int = 0
    neighbours: int = 32
    distance_temperature: float = 1000.0
    mix: float = 0.5
    link: Link = "identity"
    clamp: tuple[float, float] | None = (0.0, 1.0)
    bos_token_id: int | None = None
    calibration: tuple[tuple[float, float], ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    quality: dict[str, object] = field(default_factory=dict)
    weights_dtype: str | None = field(default=None, compare=False)
    weights_sha256: str | None = field(default=None, compare=False)
    base_weights_fingerprint: str | None = field(default=None, compare=False)
    schema_version: int = field(default=SCHEMA_VERSION, compare=False)

    def __post_init__(self) -> None:
        head_kind(self.head)  # or it raises
        for name in ("layers", "rank", "lora_rank", "lora_alpha", "ladder_width", "ladder_heads"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {MAX_SIZE}")
        _check_taps(self)
        _check_datastore(self)
        if not all(self.attributes) or not 0 < len(self.attributes) == len(set(self.attributes)):
            raise InvalidSetting(f"got attributes {shown(self.attributes)}, expected one or more different names")
        if self.clamp is not None and not -MAX_REWARD <= self.clamp[0] < self.clamp[1] <= MAX_REWARD:
            raise InvalidSetting(f"got clamp={shown(self.clamp)}, expected (low, high), both finite and low < high")
        _check_calibration(self)
        if self.bos_token_id is not None and self.bos_token_id < 0:
            raise InvalidSetting(f"got bos_token_id={self.bos_token_id}, expected a token id")

    def attribute_index(self, attribute: str | None) -> int:
        """The column of an attribute; the first for None.

        Raises:
            UnknownAttribute: the reward has no attribute of that name.
        """
        if attribute is None:
            return 0
        if attribute not in self.attributes:
            known = legible(", ".join(self.attributes), keep="")
            raise UnknownAttribute(f"got attribute {shown(attribute)}, expected one of: {known}")
        return self.attributes.index(attribute)

    def chosen_index(self, name: str, attribute: str | None, strength: str = "") -> int:
        """The column of the attribute that a user named; of a reward with one attribute, they need not name it.

        Args:
            name: the reward's name, for the message.
            attribute: the attribute; None if they named none.
            strength: what they wrote behind it, such as =+20, for the message.

        Raises:
            UnknownAttribute: the reward has no attribute of that name.
            InvalidSetting: they named none, and the reward has several.
        """
        if attribute is None and len(self.attributes) > 1:
            known = " or ".join(f"{name}:{each}{strength}" for each in self.attributes)
            raise InvalidSetting(f"got {shown(name)}, which has several rewards, expected {known}")
        return self.attribute_index(attribute)

    @property
    def missing_hashes(self) -> tuple[str, ...]:
        """The hashes that are not recorded, by the names of their fields."""
        return tuple(name for name in HASHES if getattr(self, name) is None)

    def check_base(self, name: str, base: str, fingerprint: str, weights_fingerprint: str) -> None:
        """Check that a model has the weights on which the reward was trained.

        Args:
            name: the reward's name, for the message.
            base: the model's name, for the message.
            fingerprint: its `base_fingerprint`.
            weights_fingerprint: its `base_weights_fingerprint`; not compared where the card has none.

        Raises:
            RewardMismatch: the fingerprints differ.
        """
        if self.is_base(fingerprint, weights_fingerprint):
            return
        recorded, found = self.base_weights_fingerprint, weights_fingerprint
        if fingerprint != self.base_fingerprint:
            recorded, found = self.base_fingerprint, fingerprint
        from trimtab.models.loading import EMBEDDED, EMBEDDED_INSTALL

        known = self.base == EMBEDDED
        advice = f"install its base: {EMBEDDED_INSTALL}" if known else "load the base that it was trained on"
        raise RewardMismatch(
            f"reward {shown(name)} was trained on weights {recorded}, {shown(base)} has {found}; {advice}"
        )

    def is_base(self, fingerprint: str, weights_fingerprint: str) -> bool:
        """Whether these are the fingerprints of the base. Arguments as in `check_base`."""
        known = (self.base_fingerprint, self.base_weights_fingerprint or weights_fingerprint)
        return known == (fingerprint, weights_fingerprint)

    def check_tokenizer(self, name: str, fingerprint: str, model: str = "MODEL") -> None:
        """Check that a tokenizer's ids mean the tokens that the reward was trained on.

        Args:
            name: what loads the reward, for the message.
            fingerprint: of the tokenizer.
            model: what loads the language model that has it, for the message.

        Raises:
            RewardMismatch: the fingerprints differ. The message has the commands that help.
        """
        if fingerprint != self.tokenizer_fingerprint:
            from trimtab.rewards.other_tokenizer import advice

            raise RewardMismatch(
                f"reward {shown(name)} was trained for the tokenizer {self.tokenizer_fingerprint} (of {self.base}), "
                f"the language model has {fingerprint}; {advice(name, self, model)}"
            )

    def check_scores_texts(self, name: str) -> None:
        """Check that the reward scores texts, so that it serves a model of another tokenizer.

        Args:
            name: the reward's name, for the message.

        Raises:
            InvalidSetting: it has no V-head.
        """
        if not head_kind(self.head).scores_texts:
            raise InvalidSetting(
                f"got the reward {shown(name)} with a {self.head!r} head, which scores the tokens of {self.base} "
                "alone, for a model of another tokenizer; expected a reward with a V-head, such as toxicity-rad or "
                "sentiment-rad"
            )

    def check_candidates(self, name: str, k: int | None) -> None:
        """Check that the head can score that many candidates per step. This imports torch.

        Args:
            name: the reward's name, for the message.
            k: how many; None for the whole vocabulary.

        Raises:
            InvalidSetting: k is more than the head's limit.
        """
        limit = head_class(self.head).max_candidates
        if limit is not None and (k is None or k > limit):
            raise InvalidSetting(f"got top_k={shown(k)}, expected 1 to {limit}: {name!r} runs every candidate")

    @property
    def extra_tokens(self) -> int:
        """1 if BOS is put before a text, else 0."""
        return int(self.bos_token_id is not None)

    def as_dict(self) -> dict[str, object]:
        """The fields of config.json; what only some rewards have is left out of the others."""
        absent = (() if self.taps else OF_LADDERS) + (() if self.keys else OF_DATASTORES)
        absent += () if self.calibration else ("calibration",)
        return {name: value for name, value in asdict(self).items() if name not in absent}

    def check_file(self, folder: Path) -> None:
        """Check that the weights in a folder have the hash that the card records, without reading them as numbers.

        Raises:
            CorruptReward: they have another, or are not there.
        """
        found = hash_of_file(folder / WEIGHTS_FILE)
        if self.weights_sha256 not in (None, found):
            raise CorruptReward(
                f"{shown_path(folder / WEIGHTS_FILE)} is damaged: got SHA-256 {found[:16] or 'of no file'}, expected "
                f"{str(self.weights_sha256)[:16]} as its card says; fetch or train the reward again"
            )

    @property
    def fingerprint(self) -> str:
        """A hash of the fields that decide what a reward is when it steers, and what it is called."""
        deciding = {name: value for name, value in self.as_dict().items() if name not in NOT_DECIDING}
        return text_fingerprint(dump_json(deciding, ascii_only=True))

    def to_json(self) -> str:
        """The text of config.json."""
        return dump_json(self.as_dict(), indent=2) + "\n"

    @classmethod
    @checked
    def from_json(cls, text: str, place: str = "") -> "RewardCard":
        """Read config.json.

        Args:
            text: its content.
            place: where it is, for messages.

        Raises:
            CorruptReward: the text is not JSON, lacks a field or a hash, has an unknown field or one of another type or
                out of range, or has a newer schema.
        """
        try:
            card = cls(**_fields_of(text))
            if card.schema_version == SCHEMA_VERSION and (missing := card.missing_hashes):
                raise InvalidData(f"it has no {missing[0]}")
            return card
        except (InvalidData, InvalidSetting) as error:
            raise CorruptReward(
                f"{place or CARD_FILE} is not a reward card: {error}; fetch or train the reward again"
            ) from error


def _check_taps(card: RewardCard) -> None:
    ascending = list(card.taps) == sorted(set(card.taps)) and all(tap > 0 for tap in card.taps)
    if card.trunk != "ladder" and card.taps:
        raise InvalidSetting(f"got taps={shown(card.taps)} with trunk={card.trunk!r}, expected none")
    if card.trunk == "ladder" and not (ascending and card.taps[-1:] == (card.layers,)):
        raise InvalidSetting(f"got taps={shown(card.taps)}, expected ascending depths that end at layers={card.layers}")


def _check_datastore(card: RewardCard) -> None:
    sizes = 0 <= card.keys <= MAX_SIZE and 1 <= card.neighbours <= MAX_SIZE
    if not (sizes and 0 < card.distance_temperature <= MAX_REWARD and 0 <= card.mix < 1):
        raise InvalidSetting(
            f"got keys={card.keys}, neighbours={card.neighbours}, distance_temperature={card.distance_temperature} and "
            f"mix={card.mix}, expected at least 0, at least 1, above 0, and 0 to below 1"
        )


def _check_calibration(card: RewardCard) -> None:
    lines = card.calibration
    fits = all(0 < scale <= MAX_REWARD and abs(shift) <= MAX_REWARD for scale, shift in lines)
    if lines and not (fits and len(lines) == len(card.attributes) and card.baseline):
        raise InvalidSetting(f"got calibration={shown(lines)}, expected a scale above 0 and a shift for each attribute")


@checked
def read_card(folder: str | Path) -> RewardCard:
    """Read the card of a saved reward.

    Raises:
        CorruptReward: the folder has no card, or the card cannot be read.
        WrongType: the folder is no path.
    """
    path = Path(folder) / CARD_FILE
    if not is_file(path):
        raise CorruptReward(f"got {shown_path(folder)}, expected the folder of a reward; it has no {CARD_FILE}")
    try:
        return RewardCard.from_json(path.read_text(encoding="utf-8"), shown_path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptReward(f"cannot read {shown_path(path)}: {reason_of(error)}") from error


def _fields_of(text: str) -> dict[str, Any]:
    """The fields in the text of a card; their types are not checked yet.

    Raises:
        InvalidData: it is no JSON object, or is nested too deeply.
        CorruptReward: another schema, or unknown fields.
    """
    values = parse_json(text)
    if not isinstance(values, dict):
        raise InvalidData(f"got {shown(values)}, expected an object")
    if "schema_version" not in values:
        raise InvalidData("it has no schema_version")
    if (version := values["schema_version"]) not in (SCHEMA_VERSION, *OLD_SCHEMAS):
        raise CorruptReward(f"got a reward of schema {shown(version)}, expected {SCHEMA_VERSION}; upgrade trimtab")
    if unknown := sorted(set(values) - {f.name for f in fields(RewardCard)}):
        raise CorruptReward(f"got unknown fields in {CARD_FILE}: {shown(', '.join(unknown))}; upgrade trimtab")
    if _too_deep(values):
        raise InvalidData(f"got values nested more than {MAX_DEPTH} deep, expected tables and figures")
    names = ("attributes", "clamp", "taps")
    lists = {name: tuple(values[name]) for name in names if isinstance(values.get(name), list)}
    if isinstance(lines := values.get("calibration"), list):
        lists["calibration"] = tuple(tuple(line) if isinstance(line, list) else line for line in lines)
    return values | lists


def _too_deep(value: object) -> bool:
    """Whether objects and lists are nested more than MAX_DEPTH deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [each for outer in level for each in _inside(outer)]
    return bool(level)


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []
