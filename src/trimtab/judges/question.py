"""Questions for self-evaluation: an instruction, worked examples, and options with their scores, in TOML files."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any, final

from trimtab.data.files import shown_path
from trimtab.data.hub import reason_of
from trimtab.data.jsonlines import is_file
from trimtab.errors import InvalidData, InvalidSetting

ANSWER = "The answer is: ("
FOLDER = Path(__file__).parent / "questions"
SELF = "self"
DEFAULT_QUESTION = "harmlessness"


@final
@dataclass(frozen=True)
class Option:
    """One possible answer.

    Attributes:
        text: the wording that is offered.
        score: from 0 (bad) to 1 (good).
    """

    text: str
    score: float


@final
@dataclass(frozen=True)
class Example:
    """A worked example.

    Attributes:
        text: the text that is judged, in the question's layout.
        answer: the index of the right option.
    """

    text: str
    answer: int


@final
@dataclass(frozen=True)
class Question:
    """A question about a text.

    Attributes:
        name: its name in tables and records.
        instruction: the first paragraph.
        layout: the layout of a text to judge, with {prompt} and, at the end, {text}.
        ask: the question behind each text.
        options: the options in their first order. The second time, the order is reversed.
        examples: worked examples; every second one has the options in the reverse order.
    """

    name: str
    instruction: str
    layout: str
    ask: str
    options: tuple[Option, ...]
    examples: tuple[Example, ...]

    def preamble(self) -> str:
        """The instruction and the worked examples, which come before every judgement."""
        parts = [self.instruction]
        for number, example in enumerate(self.examples):
            order = self.order(swapped=number % 2 == 1)
            letter = ascii_uppercase[order.index(self.options[example.answer])]
            parts.append(f"{example.text}{self.tail(swapped=number % 2 == 1)}{letter})")
        return "\n\n".join(parts) + "\n\n"

    def opening(self, prompt: str) -> str:
        """The layout up to the text that is judged.

        A prompt that ends with a colon opens the assistant's turn itself; it replaces the layout. Without a prompt,
        the layout's lines that hold only the prompt are left out.
        """
        if prompt.rstrip().endswith(":"):
            return prompt.rstrip()
        lines = [line for line in self.layout.split("\n") if prompt or "{prompt}" not in line or "{text}" in line]
        return "\n".join(lines).removesuffix("{text}").replace("{prompt}", prompt).rstrip(" ")

    def tail(self, swapped: bool, between: str = " ") -> str:
        """The question and the options, up to the letter of the answer.

        Args:
            swapped: put the options in the reverse order.
            between: the text before the answer; in a chat, the change of turns.
        """
        lettered = zip(self.letters, self.order(swapped), strict=True)
        offered = " ".join(f"({letter}) {option.text}" for letter, option in lettered)
        return f"\n{self.ask} {offered}{between}{ANSWER}"

    def order(self, swapped: bool) -> tuple[Option, ...]:
        """The options in the order in which they are offered."""
        return self.options[::-1] if swapped else self.options

    @property
    def digest(self) -> str:
        """A hash of the question: of its words, its options with their scores, and its examples."""
        return hashlib.sha256(repr(self).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def letters(self) -> str:
        """The letters of the options: A, B, and so on."""
        return ascii_uppercase[: len(self.options)]


def read_question(name: str) -> Question:
    """Read a question.

    Args:
        name: `harmlessness`, `truthfulness`, `sentiment`, `requests`, or the path of a TOML file in their format.

    Raises:
        InvalidSetting: there is no such question.
        InvalidData: the file is not a question.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not is_file(path):
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise InvalidSetting(
            f"got the question {shown_path(name)}, expected {known}, or a .toml file like theirs in {FOLDER}"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return parse_question(path.stem, content)
    except (OSError, RecursionError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InvalidData(
            f"{shown_path(path)} is not a question: {_reason(error)}; compare it with those in {FOLDER}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it has no {error}" if isinstance(error, KeyError) else reason_of(error)


def question_of(judge: str) -> Question:
    """The question of a self-judge: `self` (harmlessness), `self:NAME` or `self:FILE.toml`.

    Raises:
        InvalidSetting: another form, or there is no such question.
        InvalidData: the file is not a question.
    """
    kind, _, name = judge.partition(":")
    if kind != SELF:
        raise InvalidSetting(f"got the judge {shown_path(judge)}, expected {SELF}, {SELF}:QUESTION, or reward.away(1)")
    return read_question(name or DEFAULT_QUESTION)


def parse_question(name: str, content: dict[str, Any]) -> Question:
    """Make a question from the content of its file.

    Raises:
        KeyError, ValueError, TypeError: a part is missing or wrong.
    """
    layout = content["layout"].strip("\n")
    if not layout.endswith("{text}"):
        raise ValueError('layout must end with "{text}"')
    options = tuple(Option(each["text"].strip(), float(each["score"])) for each in content["options"])
    if not 2 <= len(options) <= 5 or not all(0 <= option.score <= 1 for option in options):
        raise ValueError("expected two to five options, each with a score from 0 to 1")
    texts = [option.text for option in options]
    examples = tuple(
        Example(
            layout.replace("{prompt}", each.get("prompt", "").strip()).replace("{text}", each["text"].strip()),
            texts.index(each["answer"].strip()),
        )
        for each in content.get("examples", [])
    )
    return Question(name, content["instruction"].strip(), layout, content["ask"].strip(), options, examples)
