"""In a process of its own: the run-time type checker of the tests would answer first."""

import json
import subprocess
import sys

import pytest

from trimtab.checking import describe, shown
from trimtab.data.visible import legible

PROGRAM = """
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypedDict, Unpack, runtime_checkable
import numpy, torch
from trimtab.checking import checked, checked_except
from trimtab.errors import InvalidSetting, TrimtabError, WrongType

class Options(TypedDict, total=False):
    depth: int

@checked
def write(
    n: int, share: float | None = None, names: Sequence[str] = (), kind: Literal["a", "b"] = "a",
    **options: Unpack[Options],
):
    return n, share, names, kind, options

@checked_except("raw")
@dataclass(frozen=True)
class Settings:
    count: Annotated[int, "Help."]
    raw: int = 0

@checked
@dataclass(frozen=True)
class Shape:
    clamp: tuple[float, float] | None = None
    counts: Sequence[int] = ()
    table: dict[str, Sequence[float] | float] | None = None

class Nasty:
    def __repr__(self):
        raise RuntimeError("no")

def told(call):
    try:
        return call()
    except TrimtabError as error:
        assert isinstance(error, (WrongType, InvalidSetting)), error
        return f"{type(error).__name__}: {error}"

import json, sys
for line in sys.stdin:
    print(json.dumps(str(told(lambda: eval(json.loads(line))))), flush=True)
"""


@pytest.fixture(scope="module")
def run():
    """What an expression returns, or the error that it raises, as a text."""
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def answer(expression):
            process.stdin.write(json.dumps(expression) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield answer
        process.stdin.close()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("write(3, 1, ['x'])", "(3, 1, ['x'], 'a', {})"),
        ("write(numpy.int64(3), torch.tensor(0.5), depth=2)", "(3, 0.5, (), 'a', {'depth': 2})"),
        ("write('2')", "WrongType: got n='2', expected a whole number"),
        ("write(2, 'x')", "WrongType: got share='x', expected a number or None"),
        ("write(2, names=['x', 3])", "WrongType: got names=['x', 3], expected a list of texts"),
        ("write(2, names=(each for each in 'ab'))", "expected a list of texts"),
        ("write(2, names='abc')", "WrongType: got names='abc', expected a list of texts"),
        ("write(True)", "WrongType: got n=True, expected a whole number"),
        ("write(2, 10**400)", "expected a number or None"),
        ("Shape((0, 10**400))", "WrongType: got clamp=(0, 1000"),
        ("Shape((False, True))", "got clamp=(False, True), expected (a number, a number) or None"),
        ("Shape(None, [1, True])", "got counts=[1, True], expected a list of whole numbers"),
        ("Shape(None, (), {'a': [0.5, 10**400]})", "got table={'a': [0.5, 1000"),
        ("Shape(None, (), {'a': True})", "got table={'a': True}, expected a mapping"),
        (
            "Shape((0, 1), [2], {'a': [1, 2.5], 'b': 3})",
            "Shape(clamp=(0, 1), counts=[2], table={'a': [1, 2.5], 'b': 3}",
        ),
        ("write(2, kind='c')", "WrongType: got kind='c', expected 'a' or 'b'"),
        ("write()", "WrongType: missing a required argument: 'n'; the arguments of write are: n, share"),
        ("write(1, 2, [], 'a', 5)", "WrongType: too many positional arguments"),
        ("write(1, width=3)", "InvalidSetting: got width=3, expected one of: depth"),
        ("write(1, depth='3')", "WrongType: got depth='3', expected a whole number"),
        ("write(Nasty())", "WrongType: got n=<Nasty>, expected a whole number"),
        ("write('x' * 500)", "xxx…, expected a whole number"),
        ("Settings('3')", "WrongType: got count='3', expected a whole number"),
        ("Settings(3, raw='left alone')", "Settings(count=3, raw='left alone')"),
        ("Settings(numpy.int32(3)).count.__class__", "<class 'int'>"),
        (
            "Settings(3, total=4)",
            "WrongType: got an unexpected keyword argument 'total'; the arguments are: count, raw",
        ),
    ],
)
def test_arguments_are_checked_and_named(run, expression, expected):
    assert expected in run(expression)


def test_a_wrong_type_is_also_a_type_error_and_a_value_error(run):
    assert run("write.__wrapped__(1)[0] + issubclass(WrongType, TypeError) + issubclass(WrongType, ValueError)") == "3"


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (tuple[int, int], "(a whole number, a whole number)"),
        (dict[str, float], "a mapping from a text to a number"),
        (list[dict], "a list, each dict"),
    ],
)
def test_a_hint_is_described_in_words(hint, words):
    assert describe(hint) == words


def test_a_value_in_a_message_is_cut():
    assert shown("ab") == "'ab'"
    assert len(shown(list(range(1000)))) == 61
    assert legible(shown("\x1b[31m")) == shown("\x1b[31m")


def test_a_warning_names_the_line_outside_the_package():
    """In a process of its own: type checkers of the tests put frames in between."""
    code = """if True:
        import warnings
        from trimtab.checking import warn_caller
        inside = {"__name__": "trimtab.inside", "warn_caller": warn_caller}
        exec("def deep(): warn_caller('old', UserWarning)\\ndef call(): deep()", inside)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            inside["call"]()
        print(seen[0].lineno)
    """
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["8"]
