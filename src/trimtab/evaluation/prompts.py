"""Prompt sets: what is continued, and which way a reward is to push it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from trimtab.errors import InvalidPrompt
from trimtab.frozen.lm import FrozenLM
from trimtab.training.data import digest_of, read_table, text_of

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


def read_prompt_set(
    source: str, direction: Direction, lm: FrozenLM, column: str, limit: int | None, split: str = "train"
) -> PromptSet:
    """Read prompts from a table or a data set.

    Args:
        source: a .jsonl, .csv or .tsv file (.gz allowed), or a folder or Hub id of a data set.
        direction: which way they are to be pushed.
        lm: what will continue them.
        column: where the text is; `prompt.text` is a field of a column.
        limit: take the first so many usable ones.
        split: of a data set.

    Raises:
        InvalidData: no such table, or no usable prompt in it.
    """

    def parse(row: dict[str, Any]) -> str:
        text = text_of(row, column)
        try:
            lm.encode(text)
        except InvalidPrompt as error:
            raise ValueError(str(error)) from error
        return text

    table = read_table(source, split, parse)
    name = Path(source).name.partition(".")[0]
    return PromptSet(name, direction, tuple(table.rows[:limit]), tuple(table.faults))
