"""Settings of the server's benchmark. No torch here, so that the command line starts fast."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked, shown
from trimtab.errors import InvalidSetting
from trimtab.steering.notation import MAX_BETA

MOST = {"rows": 1024, "tokens": 10**5, "repeats": 1000}
LEAST = {"rows": 2, "tokens": 2, "repeats": 1}  # percentiles and times per token need two


@final
@checked
@dataclass(frozen=True)
class LoadSettings:
    """What the clients of a server's benchmark ask for, and how often.

    Raises:
        InvalidSetting: a value is out of range.
    """

    reward: Annotated[str, "Reward to steer by, as NAME or NAME=SOURCE; an empty text for none."] = "toxicity-own"
    beta: Annotated[float, "Strength of the steer."] = -30.0
    rows: Annotated[int, "Requests at once, one text each."] = 32
    tokens: Annotated[int, "New tokens of each text."] = 40
    repeats: Annotated[int, "Timed rounds, after one that warms up."] = 3

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            if not LEAST[name] <= getattr(self, name) <= most:
                raise InvalidSetting(f"got {name}={shown(getattr(self, name))}, expected {LEAST[name]} to {most}")
        if not -MAX_BETA <= self.beta <= MAX_BETA:
            raise InvalidSetting(f"got beta={shown(self.beta)}, expected {-MAX_BETA:g} to {MAX_BETA:g}")
