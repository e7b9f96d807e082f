"""Language models as experts in a text, `experts:EXPERT,ANTI`, checked before any weights load. No torch here."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting, RewardMismatch
from trimtab.rewards.card import WEIGHTS_FILE, read_card
from trimtab.rewards.heads import HEADS
from trimtab.steering.notation import EXPERTS

if TYPE_CHECKING:
    from trimtab.models.codec import TextCodec

ADAPTER_FILE = "adapter_config.json"  # of peft
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ATTRIBUTE = "expert"


@final
@dataclass(frozen=True)
class ExpertNames:
    """What loads an expert and an anti-expert; None for one that there is not.

    Each is what `trimtab.load` takes, the folder of a reward by `trimtab train genarm`, or the folder of a LoRA adapter
    of the steered model, as peft saves it.
    """

    expert: str | None
    anti: str | None

    @property
    def text(self) -> str:
        """As it was written."""
        return EXPERTS + (self.expert or "") + ("" if self.anti is None else f",{self.anti}")


def names_experts(name: str) -> bool:
    """Whether the name of a reward is one of experts."""
    return name.startswith(EXPERTS)


@checked
def parse_experts(name: str) -> ExpertNames:
    """Read `experts:EXPERT,ANTI`, `experts:EXPERT` or `experts:,ANTI`.

    Raises:
        InvalidSetting: it has another form.
    """
    parts = name.removeprefix(EXPERTS).split(",")
    if not names_experts(name) or len(parts) > 2 or not any(parts):
        raise InvalidSetting(
            f"got the experts {shown(name)}, expected experts:EXPERT,ANTI or experts:EXPERT or experts:,ANTI; each is "
            "a language model of the same tokenizer, and its name has no comma"
        )
    if len(set(parts)) < len(parts):
        raise InvalidSetting(f"got the experts {shown(name)}, expected two models: one takes back what it gives")
    return ExpertNames(parts[0] or None, parts[1] if len(parts) > 1 and parts[1] else None)


def is_adapter(name: str) -> bool:
    """Whether a name is the folder of a peft adapter."""
    return (Path(name) / ADAPTER_FILE).is_file()


def is_reward(name: str) -> bool:
    """Whether a name is the folder of a reward."""
    return (Path(name) / WEIGHTS_FILE).is_file()


def check_expert_attribute(attribute: str | None) -> None:
    """Check the name of an attribute; experts have one.

    Raises:
        InvalidSetting: there is no such attribute.
    """
    if attribute not in (None, ATTRIBUTE):
        raise InvalidSetting(f"got attribute {shown(attribute)} of experts, expected {ATTRIBUTE!r} or none")


def check_experts(name: str, codec: "TextCodec | None" = None) -> None:
    """Check experts by their small files: that they exist, and have the tokenizer of the language model to steer.

    Args:
        name: `experts:EXPERT,ANTI`.
        codec: of the language model to steer; None if it is not known.

    Raises:
        InvalidSetting: the text has another form, an adapter has no safetensors, or a reward has another head.
        ModelNotFound, CorruptReward: one cannot be read.
        RewardMismatch: one has another tokenizer.
    """
    names = parse_experts(name)
    for each in filter(None, (names.expert, names.anti)):
        _check_expert(each, codec)


def check_lm_head(name: str, head: str) -> None:
    """Check that a reward is a language model.

    Raises:
        InvalidSetting: it has another head.
    """
    if not HEADS[head].is_language_model:
        raise InvalidSetting(
            f"got the reward {shown(name)} with a {head!r} head as an expert, expected a language model, or a reward "
            "by trimtab train genarm or trimtab train expert; steer by this reward itself"
        )


def check_adapter(name: str) -> None:
    """Check that an adapter has safe weights.

    Raises:
        InvalidSetting: it has none.
    """
    if not (Path(name) / ADAPTER_WEIGHTS).is_file():
        raise InvalidSetting(f"got the adapter {shown(name)}, expected {ADAPTER_WEIGHTS} in its folder; save it again")


def check_same_tokenizer(name: str, found: str, codec: "TextCodec") -> None:
    """Check that an expert has the tokenizer of the language model to steer.

    Raises:
        RewardMismatch: it has another one.
    """
    if found != codec.fingerprint:
        raise RewardMismatch(
            f"got the expert {shown(name)} with the tokenizer {found}, the language model has {codec.fingerprint}; "
            "choose an expert of the same family, whose tokens mean the same"
        )


def _check_expert(name: str, codec: "TextCodec | None") -> None:
    if is_adapter(name):
        check_adapter(name)
    elif is_reward(name):
        card = read_card(name)
        check_lm_head(name, card.head)
        if codec is not None:
            check_same_tokenizer(name, card.tokenizer_fingerprint, codec)
    else:
        _check_model(name, codec)


def _check_model(name: str, codec: "TextCodec | None") -> None:
    """Check a language model: its tokenizer first, because a Hub id's weights take long to fetch."""
    from trimtab.models.loading import check_model, find_model, load_codec

    find_model(name, weights=False)
    if codec is not None:
        check_same_tokenizer(name, load_codec(name).fingerprint, codec)
        check_model(name)
