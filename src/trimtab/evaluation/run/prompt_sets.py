"""Prompt sets: prompts, and the direction in which rewards steer their continuations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from trimtab.checking import checked
from trimtab.data.tables import digest_of, hash_of_file, read_table, text_of
from trimtab.errors import InvalidPrompt
from trimtab.evaluation.checks import check_at_least
from trimtab.evaluation.prompt_form import PLAIN, PromptForm
from trimtab.models.codec import TextCodec

Direction = Literal["up", "down"]


@final
@checked
@dataclass(frozen=True)
class PromptSet:
    """Prompts whose continuations are steered in one direction.

    Attributes:
        name: the name of the file or data set.
        direction: toward high rewards ("up") or low ones ("down").
        prompts: the texts.
        faults: why rows were left out, one message per row.
        sha256: a hash of the file; empty for a data set on the Hub.
    """

    name: str
    direction: Direction
    prompts: tuple[str, ...]
    faults: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def digest(self) -> str:
        """A hash of the prompts, in their order."""
        return digest_of(self.prompts)


def read_prompt_set(
    source: str,
    direction: Direction,
    codec: TextCodec,
    column: str,
    limit: int | None,
    split: str = "train",
    form: PromptForm = PLAIN,
) -> PromptSet:
    """Read prompts from a table or a data set.

    Args:
        source: a .jsonl, .csv or .tsv file (.gz allowed), or a folder or Hub id of a data set.
        direction: the direction of the set.
        codec: the codec of the model that will continue the prompts; it refuses those that are too long.
        column: the column of the text; `prompt.text` is the field `text` of the column `prompt`.
        limit: the maximum number of usable prompts, from the first; None for all.
        split: the split of a data set.
        form: how the prompts will be sent.

    Raises:
        InvalidData: there is no such table, or no usable prompt in it.
        InvalidSetting: the limit is below 1, or prompts are sent as messages and the model has no chat template.
        InvalidPrompt: its chat template refuses such messages.
    """
    check_at_least(1, limit=limit)
    form.check(codec)

    def parse(row: dict[str, Any]) -> str:
        text = text_of(row, column)
        try:
            codec.encode_prompt(form.prompt(text))
        except InvalidPrompt as error:
            raise ValueError(str(error)) from error
        return text

    table = read_table(source, split, parse)
    name = Path(source).name.partition(".")[0]
    return PromptSet(name, direction, tuple(table.rows[:limit]), tuple(table.faults), hash_of_file(source))
