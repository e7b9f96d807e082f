"""Settings of a datastore. No torch here, so that the command line starts fast."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting
from trimtab.rewards.card import MAX_REWARD, MAX_SIZE


@final
@checked
@dataclass(frozen=True)
class DatastoreSettings:
    """A datastore of hidden states, and how it is mixed in (RTD, 2409.20181).

    Raises:
        InvalidSetting: a value is out of range.
    """

    keys: Annotated[int, "Most pairs of a state and its next token, drawn at random from the texts."] = 20_000
    neighbours: Annotated[int, "Nearest keys per token [K]."] = 32
    distance_temperature: Annotated[float, "Divides the L2 distances before the softmax [T]."] = 1000.0
    mix: Annotated[float, "Weight of the neighbours' tokens in the mixture, from 0 to below 1 [λ]."] = 0.5
    max_tokens: Annotated[int, "Maximum tokens per text, its prompt included; longer texts are cut at the end."] = 128
    seed: Annotated[int, "Seed of the draw of the keys."] = 0

    def __post_init__(self) -> None:
        for name in ("keys", "neighbours", "max_tokens"):
            if not 1 <= getattr(self, name) <= MAX_SIZE:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected 1 to {MAX_SIZE}")
        if not 0 < self.distance_temperature <= MAX_REWARD:
            raise InvalidSetting(
                f"got distance_temperature={self.distance_temperature}, expected more than 0, at most {MAX_REWARD:.0e}"
            )
        if not 0 <= self.mix < 1:
            raise InvalidSetting(f"got mix={self.mix}, expected 0 to below 1")
        if not 0 <= self.seed < 2**32:
            raise InvalidSetting(f"got seed={shown(self.seed)}, expected 0 to {2**32 - 1}")


def check_context(context_length: int, settings: DatastoreSettings) -> None:
    """Check that the texts fit a base's context.

    Raises:
        InvalidSetting: they may be longer.
    """
    if settings.max_tokens >= context_length:
        raise InvalidSetting(f"got max_tokens={settings.max_tokens}, expected fewer than {context_length}")
