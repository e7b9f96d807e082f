"""A judge that runs code: the outcome of a program's tests is its score (CodeRL, 2207.01780)."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

from trimtab.checking import checked, checked_except, shown
from trimtab.data.files import shown_path
from trimtab.data.tables import column_of, read_table, text_of
from trimtab.engines.base import Engine
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.judges.draft import Draft
from trimtab.judges.sandbox import Limits, Report, check_tests, run_tests
from trimtab.models.codec import Prompt, check_conversation, prompt_text
from trimtab.models.text_fingerprint import text_fingerprint

BLOCK = re.compile(
    r"```[^`\r\n]+```"  # code within a line
    r"|```(?P<language>[^`\r\n]*)\r?\n(?P<program>.*?)(?:(?:\r?\n)?```|\Z)",
    re.DOTALL,
)
PYTHON = re.compile(r"\s*(?:py.*)?", re.IGNORECASE)
LINE_END = re.compile(r"\r\n|\r|\n")  # of Python source; str.splitlines knows more
KNOWN_PROGRAMS = 4096  # whose reports a judge keeps
PROMPT, MESSAGES, TESTS = "prompt", "messages", "tests"


@final
@checked_except("program")
class UnitTests:
    """A judge that runs the program in a draft, and tests behind it, in a sandbox.

    | outcome | CodeRL's return | score |
    |---|---|---|
    | it does not compile | −1.0 | 0 |
    | it raises an error, exits, or exceeds a limit | −0.6 | 0.2 |
    | an assertion of the tests fails | −0.3 | 0.35 |
    | it passes | 1.0 | 1 |

    The score is (return + 1) / 2, so that a search, whose s is 2 · score − 1, backs up CodeRL's returns.

    Judge whole programs: search with `RewindSettings(whole_drafts=True)`.

    Args:
        tests: Python source, such as assertions, that runs behind each program in its namespace; or tests for each
            prompt. The prompt of a conversation is its messages as text.
        limits: of each run; default: `Limits()`, five seconds and a gigabyte.
        program: maps a draft to its program; default: `program_of`.

    Raises:
        InvalidSetting: tests are no Python.
    """

    name: str = TESTS
    threshold: float = 1.0
    judges_whole_texts: Literal[True] = True

    def __init__(
        self,
        tests: str | Mapping[str, str],
        limits: Limits | None = None,
        program: "Callable[[Draft], str] | None" = None,
    ):
        self._tests, self._limits, self._program = tests, limits or Limits(), program or program_of
        self._known: dict[tuple[str, str], Report] = {}
        for each in [tests] if isinstance(tests, str) else tests.values():
            check_tests(each)

    def describe(self) -> dict[str, str]:
        """A hash of the tests, and the limits."""
        return {"tests_sha256": text_fingerprint(repr(self._tests)), "limits": repr(self._limits)}

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The score of each draft. Errors as in `reports`."""
        return [(report.outcome.value + 1) / 2 for report in self.reports(drafts)]

    def reports(self, drafts: Sequence[Draft]) -> list[Report]:
        """How the program of each draft ended; one that this judge knows does not run again.

        Raises:
            InvalidPrompt: there are no tests for a prompt.
        """
        jobs = [(self._program(draft), self.tests_of(draft.prompt, draft.asked)) for draft in drafts]
        known = {job: self._known[job] for job in jobs if job in self._known}
        new = [job for job in dict.fromkeys(jobs) if job not in known]
        known |= zip(new, run_tests(new, self._limits), strict=True)
        older = [(job, report) for job, report in self._known.items() if job not in known]
        self._known = dict([*older, *known.items()][-KNOWN_PROGRAMS:])
        return [known[job] for job in jobs]

    def place_of(self, draft: Draft, report: Report) -> int:
        """Where the line of an error begins, in characters of the continuation.

        It is 0 if there is no such line, if it is in the prompt, or if the judge has a `program` of its own.
        """
        if report.line is None or self._program is not program_of:
            return 0
        starts = [0, *(end.end() for end in LINE_END.finditer(program_of(draft)))]
        return max(0, program_start(draft) + starts[: report.line][-1])

    def check_prompt(self, prompt: Prompt) -> None:
        """Check that there are tests for a prompt, before drafts are written.

        Raises:
            InvalidPrompt: there are none, or it is no prompt.
        """
        if not isinstance(prompt, str):
            check_conversation(prompt)
        draft = Draft.of(prompt, (), (), "")
        self.tests_of(draft.prompt, draft.asked)

    def tests_of(self, prompt: str, asked: str = "") -> str:
        """The tests of a prompt; of one with a system message, also those of `asked`, the prompt without it.

        Raises:
            InvalidPrompt: there are none.
        """
        if isinstance(self._tests, str):
            return self._tests
        found = next((self._tests[text] for text in (prompt, asked) if text in self._tests), None)
        if found is None:
            raise InvalidPrompt(f"got the prompt {shown(prompt)}, for which there are no tests; add a row for it")
        return found


def program_of(draft: Draft) -> str:
    """The program in a draft: the first fenced block of the continuation, else an answer, or prompt and continuation.

    A block counts if its fence names no language, or one that starts with "py".
    """
    block = _block(draft.text)
    return block["program"] if block else _before(draft) + draft.text[_indent(draft) :]


def program_start(draft: Draft) -> int:
    """Where the program of `program_of` begins, in characters of the continuation; below 0 if in the prompt."""
    block = _block(draft.text)
    return block.start("program") if block else _indent(draft) - len(_before(draft))


def _before(draft: Draft) -> str:
    """The part of a program without a fence that is in the prompt: none if the draft is an answer."""
    return "" if draft.answers else draft.prompt


def _indent(draft: Draft) -> int:
    """The space that the first token of an answer may begin with is no indent."""
    return int(draft.answers and draft.text.startswith(" "))


def _block(text: str) -> re.Match[str] | None:
    """The first fenced block of Python."""
    blocks = (block for block in BLOCK.finditer(text) if block["language"] is not None)
    return next((block for block in blocks if PYTHON.fullmatch(block["language"])), None)


@checked
def load_tests(path: str | Path, limits: Limits | None = None) -> UnitTests:
    """The judge of a file of tests.

    Args:
        path: Python source, `.py`, for every prompt; or a table with columns `prompt` (or `messages`) and `tests`.
        limits: as in `UnitTests`.

    Raises:
        InvalidData: it cannot be read, or has two different tests for one prompt.
        InvalidSetting: tests are no Python.
    """
    if Path(path).suffix == ".py":
        try:
            return UnitTests(Path(path).read_text(encoding="utf-8"), limits)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidData(f"cannot read the tests {shown_path(path)}: {error}") from error
    table = read_table(path, "test", _parse)
    if table.faults:
        raise InvalidData(f"got tests in {shown_path(path)} with faults, expected none; first: {table.faults[0]}")
    tests: dict[str, str] = {}
    for prompt, of_prompt in table.rows:
        if tests.setdefault(prompt, of_prompt) != of_prompt:
            raise InvalidData(f"got two different tests in {shown_path(path)} for the prompt {shown(prompt)}")
    return UnitTests(tests, limits)


def _parse(row: dict[str, Any]) -> tuple[str, str]:
    tests = text_of(row, TESTS)
    try:
        check_tests(tests)
    except InvalidSetting as error:
        raise ValueError(str(error)) from error
    return (prompt_text(column_of(row, MESSAGES)) if MESSAGES in row else text_of(row, PROMPT)), tests
