"""Measure the cost of a search: tokens encoded and forward calls per iteration, against encoding everything again.

The reference makes the same search as RAIN's code does: one branch and one question at a time, each with its whole
prefix. A branch's own tokens are cached while it is written, and every judged node is expanded at once. The engine
counts both.

    python bench/rewind_cost.py --out results/rewind/cost.json
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import trimtab
from trimtab.engines.base import Capability, Choice, Chunk, Continuation, Request, Scored
from trimtab.engines.torch.engine import TorchEngine
from trimtab.models.codec import TextCodec
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.rewind.result import SearchResult
from trimtab.rewind.runner import RewindOptions, SearchProgress, rewind_prompts
from trimtab.rewind.search import SearchRequest
from trimtab.rewind.tree import Node
from trimtab.rewind.writer import Writer
from trimtab.steering.reward import Reward
from trimtab.steering.steer import Steer

PROMPTS = [
    "The new neighbours are",
    "My boss told me that",
    "The best way to cook rice is",
    "When the train stopped, she",
    "Politicians should",
    "The film was directed by a man who",
    "In the middle of the night he",
    "The history of this town",
]


class OneByOne:
    """An engine that keeps nothing between calls and does one thing at a time."""

    capabilities: frozenset[Capability] = frozenset({"score", "rewards", "states"})

    def __init__(self, base: FrozenLM):
        self.base = base
        self._engine = TorchEngine(base, PrefixCache(0))

    @property
    def codec(self) -> TextCodec:
        """The model's codec."""
        return self._engine.codec

    @property
    def vocabulary_size(self) -> int:
        """The model's vocabulary size."""
        return self._engine.vocabulary_size

    @property
    def usage(self) -> Usage:
        """The usage of all calls."""
        return self._engine.usage

    def describe(self) -> dict[str, str]:
        """The model's description."""
        return self._engine.describe()

    def session(self) -> "OneByOne":
        """This engine: it has nothing to share."""
        return self

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """Sample each request alone."""
        return [self._engine.sample([request])[0] for request in requests]

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """Stream all requests together; searches do not stream."""
        return self._engine.stream(requests)

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[Scored]:
        """Score each prefix alone."""
        pairs = zip(prefixes, continuations, strict=True)
        return [self._engine.score([prefix], [of_prefix], steer, top_k, max_kl)[0] for prefix, of_prefix in pairs]

    def read(
        self,
        texts: Sequence[Sequence[int]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[tuple[Choice, ...]]:
        """Read each text alone."""
        return [self._engine.read([text], steer, top_k, max_kl)[0] for text in texts]

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Tensor]:
        """Return the states of each text alone."""
        return [self._engine.states([text], [count])[0] for text, count in zip(texts, last, strict=True)]

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return the rewards of each text alone."""
        return torch.cat([self._engine.rewards(reward, [text]) for text in texts])


def batched(
    base: FrozenLM, prompts: Sequence[str], judge: Any, settings: trimtab.RewindSettings, budget: trimtab.Budget
) -> dict[str, Any]:
    """Search all prompts together, as `lm.rewind` does."""
    found = rewind_prompts(
        TorchEngine(base), prompts, judge, None, settings, {"similarity": "off", "seed": 0, "budget": budget}
    )
    return counted(found, found[0].usage, found[0].seconds)


def reference(
    base: FrozenLM, prompts: Sequence[str], judge: Any, settings: trimtab.RewindSettings, budget: trimtab.Budget
) -> dict[str, Any]:
    """Search one prompt after the other, and expand every judged node at once."""
    engine = OneByOne(base)
    writer = Writer(engine, None, (), settings)
    expanded: set[Node] = set()

    def expand(turn: SearchProgress) -> None:
        for search in turn.searches:
            for node in set(search.judged) - expanded:
                expanded.add(node)
                if node.parent and not node.ended:
                    writer.write([(search, SearchRequest("children", node))])

    found = []
    for prompt in prompts:
        options: RewindOptions = {"similarity": "off", "seed": 0, "budget": budget, "progress": expand}
        found += rewind_prompts(engine, [prompt], judge, None, settings, options)
    return counted(found, engine.usage, sum(result.seconds for result in found))


def counted(found: Sequence[SearchResult], usage: Usage, seconds: float) -> dict[str, Any]:
    """Return the figures of some searches."""
    iterations = sum(result.iterations for result in found)
    return {
        "prompts": len(found),
        "iterations": iterations,
        "tokens_per_iteration": usage.tokens / iterations,
        "calls_per_iteration": usage.calls / iterations,
        "seconds": seconds,
        "token_ids": [result.token_ids for result in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--iterations", type=int, default=60, help="iterations of each search")
    parser.add_argument("--tokens", type=int, default=40, help="maximum length of each text")
    parser.add_argument(
        "--reference-prompts", type=int, default=2, help="number of prompts that the reference searches"
    )
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lm = trimtab.load(asked.model)
    settings = trimtab.RewindSettings(max_new_tokens=asked.tokens)
    budget = trimtab.Budget(max_iterations=asked.iterations)
    judges = {"self": "self", "toxicity": trimtab.reward("toxicity-lora", lm).away(1)}
    rows = []
    for name, judge in judges.items():
        few = PROMPTS[: asked.reference_prompts]
        old = reference(lm.base, few, judge, replace(settings, lookahead=1), budget)
        runs = {"re-encoding": old}
        runs["one prompt"] = batched(lm.base, few[:1], judge, settings, budget)
        runs["eight prompts"] = batched(lm.base, PROMPTS, judge, settings, budget)
        for kind, run in runs.items():
            same = run["token_ids"][: len(few)] == old["token_ids"][: len(run["token_ids"])]
            figures = {figure: value for figure, value in run.items() if figure != "token_ids"}
            row = {"judge": name, "run": kind, **figures, "same_texts": same}
            row["fewer_tokens"] = old["tokens_per_iteration"] / run["tokens_per_iteration"]
            row["fewer_calls"] = old["calls_per_iteration"] / run["calls_per_iteration"]
            rows.append(row)
            print(
                f"{name:9} {kind:14} {run['iterations']:5} iterations  {run['tokens_per_iteration']:8.1f} tokens "
                f"({row['fewer_tokens']:5.1f}× fewer)  {run['calls_per_iteration']:7.2f} calls "
                f"({row['fewer_calls']:5.1f}× fewer)  {run['seconds']:6.1f} s  same texts: {same}",
                flush=True,
            )
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        about = {"model": asked.model, "iterations": asked.iterations, "tokens": asked.tokens, "dtype": "float32"}
        asked.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
