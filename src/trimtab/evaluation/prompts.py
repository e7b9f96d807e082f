"""Prompt sets: what is continued, and which way a reward is to push it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from trimtab.errors import InvalidData, InvalidPrompt
from trimtab.frozen.lm import FrozenLM
from trimtab.training.data import digest_of
from trimtab.training.records import read_records

Direction = Literal["up", "down"]


@final
@dataclass(frozen=True)
class PromptSet:
    """Prompts that are all pushed one way.

    Attributes:
        name: of the file or data set.
        direction: towards high rewards or low ones.
        prompts: the texts.
        faults: what was wrong with the rows left out.
    """

    name: str
    direction: Direction
    prompts: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of the prompts, in their order."""
        return digest_of(self.prompts)


def read_prompt_set(source: str, direction: Direction, lm: FrozenLM, column: str, limit: int | None) -> PromptSet:
    """Read prompts from a table or a data set.

    Args:
        source: a .jsonl, .csv or .tsv file (.gz allowed), or a folder or Hub id of a data set.
        direction: which way they are to be pushed.
        lm: what will continue them.
        column: where the text is.
        limit: take the first so many usable ones.

    Raises:
        InvalidData: no such table, or no usable prompt in it.
    """
    prompts: list[str] = []
    faults: list[str] = []
    for record in read_records(source):
        if limit is not None and len(prompts) == limit:
            break
        text = (record.row or {}).get(column)
        fault = record.fault or _fault(text, column, lm)
        if fault is None:
            prompts.append(str(text))
        else:
            faults.append(fault if record.fault else f"{record.place}: {fault}")
    if not prompts:
        raise InvalidData(f"{source!r} has no usable prompt; first fault: {(faults or ['it is empty'])[0]}")
    return PromptSet(Path(source).name.partition(".")[0], direction, tuple(prompts), tuple(faults))


def _fault(text: object, column: str, lm: FrozenLM) -> str | None:
    if not isinstance(text, str):
        return f"expected a text under {column!r}"
    try:
        lm.encode(text)
    except InvalidPrompt as error:
        return str(error)
    return None
