"""Which data a run uses; no torch here, so that the command line can show it at once."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.errors import InvalidSetting


@final
@dataclass(frozen=True)
class Source:
    """A table to train on and one to measure on."""

    data: Annotated[str, "A .jsonl, .csv or .tsv file (.gz allowed), or the Hub id of a data set."]
    held_out: Annotated[str | None, "The same, for measuring. Default: 5 % of the data, kept from training."] = None
    split: Annotated[str, "The split of a data set from the Hub."] = "train"
    held_out_split: Annotated[str, "The split of --held-out."] = "validation"
    limit: Annotated[int | None, "Train on this many rows, drawn at random."] = None
    held_out_limit: Annotated[int | None, "Measure on the first so many rows of --held-out."] = None

    def __post_init__(self) -> None:
        if self.held_out_limit is not None and self.held_out is None:
            raise InvalidSetting(f"got held_out_limit={self.held_out_limit} without held_out, expected both")
        for name in ("limit", "held_out_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSetting(f"got {name}={value}, expected at least 1")
