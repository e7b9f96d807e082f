"""What a model writes for some prompts, kept in a file batch by batch."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ladder_texts import rows
from rich.progress import track

import trimtab
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import write_whole
from trimtab.generation import Generation
from trimtab.models.codec import Prompt

Row = dict[str, Any]
Method = Callable[[trimtab.LanguageModel, list[Any]], list[list[str]]]  # texts of each prompt; the first is the answer


def written(
    lm: trimtab.LanguageModel, name: str, method: Method, prompts: Sequence[Prompt], path: Path, batch: int
) -> list[Row]:
    """The rows of a method: those that are in its file, and then the others.

    Each has the prompt, the texts, and what they cost: the tokens that the engine encoded, padding included, and the
    seconds, both per prompt.
    """
    found: list[Row] = rows(path)[: len(prompts)] if path.exists() else []
    for start in track(range(len(found), len(prompts), batch), name):
        session, some, begun = lm.session(), list(prompts[start : start + batch]), time.perf_counter()
        texts = method(session, some)
        seconds = time.perf_counter() - begun
        cost = {"encoded": session.engine.usage.tokens / len(some), "seconds": seconds / len(some)}
        found += [{"prompt": p, "texts": t, **cost} for p, t in zip(some, texts, strict=True)]
        write_whole(path, "".join(dump_json(row) + "\n" for row in found))
    return found


def in_order(drafts: tuple[Generation, ...]) -> list[str]:
    """The texts of drafts as they were written."""
    return [each.text for each in sorted(drafts, key=lambda each: each.sample)]
