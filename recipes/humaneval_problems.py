"""HumanEval as prompts with two kinds of tests: recipes/humaneval.sh.

    python recipes/humaneval_problems.py humaneval.jsonl.gz runs/humaneval --limit 40

visible.jsonl has the examples in the docstring as tests, and hidden.jsonl has the tests of the benchmark. An example is
a call of the function and its value: `f(1) == 2`, `f(1) => 2`, `>>> f(1)` before a line `2`, and the like. Examples
that the reference solution fails are left out, and so are problems without an example. A fixed random part is kept.
"""

import ast
import doctest
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from ladder_texts import rows, write

from trimtab.judges import Draft, UnitTests
from trimtab.judges.sandbox import Outcome

VALUE = r"\s*(?:==>|=>|==|=|➞|->|[Rr]eturns|[Ss]hould return)\s*(.+?)\s*"
Row = dict[str, Any]


def examples(prompt: str, function: str) -> list[str]:
    """The examples of a docstring as assertions."""
    text = docstring(prompt, function)
    written = re.compile(rf"\s*(?:>>>\s*)?({re.escape(function)}\(.*\)){VALUE}")
    on_one_line = (found.groups() for line in text.split("\n") if (found := written.fullmatch(line)))
    pairs = [*doctests(text), *on_one_line]
    return list(dict.fromkeys(f"assert {call} == {value}" for call, value in pairs if is_example(call, value)))


def docstring(prompt: str, function: str) -> str:
    """The docstring of a function whose body is not written yet."""
    nodes = ast.walk(ast.parse(f"{prompt}    pass"))
    found = next(node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function)
    return ast.get_docstring(found) or ""


def doctests(text: str) -> Iterator[tuple[str, str]]:
    """Calls behind `>>>`, and the lines below them."""
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:  # what is written is no doctest
        return
    yield from ((each.source.strip(), each.want.strip()) for each in found)


def is_example(call: str, value: str) -> bool:
    """Whether both are Python, and the second is a literal."""
    try:
        ast.parse(call, mode="eval")
        ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return False
    return True


def visible(row: Row) -> list[str]:
    """The examples that the reference solution passes."""
    found = examples(row["prompt"], row["entry_point"])
    reference = Draft("", (), (), row["prompt"] + row["canonical_solution"])
    return [each for each in found if UnitTests(each).reports([reference])[0].outcome is Outcome.PASSED]


def main(
    data: Annotated[Path, typer.Argument(help="humaneval.jsonl.gz.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    limit: Annotated[int, typer.Option(help="Problems to keep.")] = 40,
) -> None:
    """Write both files."""
    table = rows(data)
    random.Random(0).shuffle(table)
    shown: list[Row] = []
    hidden: list[Row] = []
    for row in table:
        if len(shown) < limit and (tests := visible(row)):
            shown.append({"prompt": row["prompt"], "tests": "\n".join(tests)})
            hidden.append({"prompt": row["prompt"], "tests": f"{row['test']}\ncheck({row['entry_point']})\n"})
    write(out / "visible.jsonl", shown)
    write(out / "hidden.jsonl", hidden)
    print(f"{len(shown)} problems, {sum(row['tests'].count('assert ') for row in shown)} examples")


if __name__ == "__main__":
    typer.run(main)
