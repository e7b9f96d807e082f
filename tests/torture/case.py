"""A case: a command line, and whether it is refused or accepted, and why."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

SHOWN = 110


@final
@dataclass(frozen=True)
class Case:
    """A command line.

    Attributes:
        words: the arguments of `trimtab`.
        why: why it is harmless that the command line is accepted; None if it must be refused.
        stdin: what the command reads.
        env: environment variables. The case runs in a new process then, because libraries read them at import.
        limit: seconds until it counts as a hang.
        tells: where a refusal is explained: "stderr"; "stdout" where the explanation is the result.
        leaves: why a refused case leaves files, such as the rows of the lines that are right.
        loads: why weights are read before a refusal, such as that a text is compared.
    """

    words: tuple[str, ...]
    why: str | None = None
    stdin: str = ""
    env: dict[str, str] = field(default_factory=dict)
    limit: float = 60.0
    tells: Literal["stderr", "stdout"] = "stderr"
    leaves: str = ""
    loads: str = ""

    @property
    def name(self) -> str:
        """The command line and what it reads, printable and cut."""
        text = shlex.join(word if len(word) <= 60 else f"{word[:20]}…({len(word)})" for word in self.words)
        before = "".join(f"{name}={value} " for name, value in self.env.items())
        after = f" < {self.stdin[:20]}" if self.stdin else ""
        shown = (before + text + after).encode("unicode_escape").decode()
        return shown if len(shown) <= SHOWN * 2 else shown[: SHOWN * 2] + "…"


def refused(*words: str, **more) -> Case:
    """A command line that must be refused."""
    return Case(tuple(words), **more)


def accepted(why: str, *words: str, **more) -> Case:
    """A command line that is accepted, which is harmless for this reason."""
    return Case(tuple(words), why, **more)


def refused_values(base: Sequence[str], option: str, values: Iterable[str]) -> list[Case]:
    """A refused case for each value of an option."""
    return [refused(*base, option, value) for value in values]


def refused_tails(base: Sequence[str], *tails: Sequence[str]) -> list[Case]:
    """A refused case for each way to end a command line."""
    return [refused(*base, *tail) for tail in tails]
