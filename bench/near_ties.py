"""Count how often a check of several tokens chooses another token than a step of one does: near ties in bfloat16.

    python bench/near_ties.py DATA/owt_neutral.jsonl.gz --out results/near_ties.json

Every text is written twice: token by token, and with drafts that are the first text itself, so that each call checks
several tokens and every draft is right unless a near tie is broken the other way. Tokens are compared up to the first
that differs; what follows it has another prefix.
"""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import track

import trimtab
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import check_output, write_whole
from trimtab.engines.base import DecodeUsage, Request
from trimtab.engines.draft import Draft
from trimtab.engines.proposer import ProposerState, SteerDraft
from trimtab.engines.provenance import provenance
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.speculation import agreement
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.registry import load_steers


class Known:
    """Drafts the texts that `texts` holds when a batch starts."""

    cost = 0.0

    def __init__(self) -> None:
        self.texts: list[list[int]] = []

    def reads(self, model: object) -> None:
        """Nothing."""

    def start(self, requests: Sequence[Request], host: KVCache) -> "KnownRows":
        """A state that knows the texts of all rows."""
        return KnownRows([list(text) for text in self.texts])


class KnownRows:
    """What is left of each row's text."""

    def __init__(self, rows: list[list[int]]):
        self.rows = rows

    def propose(self, most: Sequence[int], steer: SteerDraft, branches: bool) -> list[Draft]:
        """The next tokens of each text."""
        return [Draft.chain(rest[:length]) for rest, length in zip(self.rows, most, strict=True)]

    def append(self, tokens: Sequence[Sequence[int]]) -> None:
        """Go on behind what was written."""
        self.rows = [rest[len(new) :] for rest, new in zip(self.rows, tokens, strict=True)]

    def select(self, rows: Sequence[int]) -> None:
        """Keep some rows."""
        self.rows = [self.rows[row] for row in rows]

    def join(self, other: ProposerState) -> None:
        """Append the rows of another state."""
        assert isinstance(other, KnownRows)
        self.rows += other.rows


def read_prompts(path: Path, count: int) -> list[str]:
    """The first prompts of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [parse_json(line)["prompt"] for line in file.read().split("\n") if line][:count]


def count_ties(
    lm: trimtab.LanguageModel, known: Known, prompts: list[str], steer: str, batch: int, tokens: int
) -> dict[str, Any]:
    """Write texts twice; returns the tokens that were compared, and the texts in which one differed."""
    steering = load_steers([] if steer == "none" else [steer], base=lm.base)
    usage, compared, differ = DecodeUsage(), 0, 0
    for first in track(range(0, len(prompts), batch), steer):
        given = prompts[first : first + batch]
        plain = lm.generate(given, steering, seed=0, max_new_tokens=tokens)
        known.texts = [each.token_ids for each in plain]
        checked = lm.generate(given, steering, seed=0, max_new_tokens=tokens, speculate="known")
        for one, other in zip(plain, checked, strict=True):
            same = agreement(one.token_ids, other.token_ids)
            different = one.token_ids != other.token_ids
            compared, differ = compared + same + different, differ + different
        usage = sum((each.usage for each in checked), start=usage)
    return {"steer": steer, "texts": len(prompts), "compared": compared, "differ": differ, **usage.as_dict()}


def main(
    data: Annotated[Path, typer.Argument(help="A file of prompts.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    steer: Annotated[list[str], typer.Option(help="NAME=β or none. Repeat for several.")] = ["none", "sentiment=+20"],  # noqa: B006
    texts: Annotated[int, typer.Option(help="Texts of each steer.")] = 1000,
    tokens: Annotated[int, typer.Option(help="New tokens of each text.")] = 64,
    batch: Annotated[int, typer.Option(help="Texts written together; of many, none would be drafted.")] = 8,
    dtype: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    model: str = "smollm2",
) -> None:
    """Compare texts written token by token with the same texts in checks of several tokens."""
    target, known = check_output(out, "--out", replace=True), Known()
    base = trimtab.load(model, dtype=dtype).base  # type: ignore[arg-type]
    lm = trimtab.LanguageModel(TorchEngine(base, proposers={"known": known}))
    prompts = read_prompts(data, texts)
    rows = [count_ties(lm, known, prompts, each, batch, tokens) for each in steer]
    about = provenance(lm.engine, tokens=tokens, batch=batch, threads=torch.get_num_threads())
    write_whole(target, dump_json({**about, "rows": rows}, indent=2) + "\n")
    for row in rows:
        print(f"{row['steer']}: {row['differ']} of {row['compared']} tokens differ, in {row['texts']} texts")
    if idle := [row["steer"] for row in rows if not row["drafted"]]:
        raise SystemExit(f"nothing was drafted with {', '.join(idle)}, so nothing was compared; use a smaller --batch")


if __name__ == "__main__":
    typer.run(main)
