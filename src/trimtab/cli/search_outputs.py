"""What `trimtab rewind` prints and writes of searches: texts, trees, JSON, a page, the cost."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli.console import error_console, output_console, print_json, print_prompt, print_text
from trimtab.cli.options import Force, PrintJson
from trimtab.data.outputs import check_output
from trimtab.errors import InvalidSetting

if TYPE_CHECKING:
    from trimtab.jobs import NumberedPrompt, RewindJob
    from trimtab.rewind.result import SearchResult


@dataclass(frozen=True)
class Outputs:
    """What is printed and written of searches."""

    show_tree: Annotated[bool, typer.Option("--show-tree", help="Print every branch, kept or taken back.")] = False
    html: Annotated[Path | None, typer.Option(help="Write the searches, and what made them, to this HTML page.")] = None
    force: Force = False
    as_json: PrintJson = False
    stats: Annotated[bool, typer.Option("--stats", help="Print tokens encoded and forward calls.")] = False

    def checked(self, source: Path | None) -> "Outputs":
        """These outputs with the file that --html means.

        Raises:
            InvalidSetting: one of them beside --input, or --show-tree beside --json.
            InvalidOutput: --html cannot be written, or exists and there is no --force.
        """
        if source and (self.show_tree or self.html or self.as_json or self.stats):
            raise InvalidSetting(
                "got --input, expected with it no --show-tree, --html, --json or --stats: --output has everything"
            )
        if self.as_json and self.show_tree:
            raise InvalidSetting("got --json and --show-tree, expected one of them: the tree is in the JSON")
        if self.html is None:
            return self
        return replace(self, html=check_output(self.html, "--html", replace=self.force))


def show(
    results: Sequence["SearchResult"], prompts: Sequence["NumberedPrompt"], job: "RewindJob", outputs: Outputs
) -> None:
    """Print results."""
    from trimtab.cli.search_tree import tree_of
    from trimtab.jobs.rows import made_by

    console = output_console()
    for numbered, result in zip(prompts, results, strict=True):
        if outputs.as_json:
            row = {**result.as_dict(), **numbered.given, "provenance": made_by(result.provenance, job)}
            print_json({"line": numbered.line, "sample": 0, **row})
        elif outputs.show_tree:
            console.print(tree_of(result))
        if not outputs.as_json:
            print_prompt(console, numbered)
            print_text(console, result.text)
        if result.finish_reason in ("budget", "interrupted"):
            error_console().print(f"ended by: {result.finish_reason}, with the best draft so far")
    if outputs.stats:
        error_console().print(usage_line(results))


def usage_line(results: Sequence["SearchResult"]) -> str:
    """The cost of searches, as one line."""
    judged, taken_back = (sum(getattr(each, name) for each in results) for name in ("iterations", "taken_back"))
    usage, seconds, iterations = results[0].usage, results[0].seconds, max(judged, 1)
    return (
        f"{judged} iteration{'s' * (judged != 1)}, {taken_back} draft{'s' * (taken_back != 1)} taken back; "
        f"{usage.tokens} tokens encoded ({usage.tokens / iterations:.1f} per iteration) in {usage.calls} forward "
        f"calls ({usage.calls / iterations:.2f} per iteration); {seconds:.1f} s"
    )
