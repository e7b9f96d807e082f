"""What a search costs: tokens encoded and forward calls an iteration, against re-encoding all as RAIN's code does.

The reference makes the same search, one branch and one question at a time, each with its whole prefix; a branch's own
tokens are cached while it is written, and every judged node is expanded at once. Both are counted by the engine.

python bench/rewind_cost.py --out results/rewind/cost.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import trimtab
from trimtab.engines.base import Continuation, Request
from trimtab.engines.settings import Sampling
from trimtab.engines.torch import TorchEngine
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.rewind.judge import as_judge
from trimtab.rewind.rewinder import Rewinder, Turn
from trimtab.rewind.search import Search, Want
from trimtab.rewind.settings import Budget, RewindSettings
from trimtab.rewind.similarity import NoSimilarity
from trimtab.rewind.tree import Node
from trimtab.rewind.writing import Writer
from trimtab.steering.reward import Reward

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
    """An engine that remembers nothing and does one thing at a time."""

    def __init__(self, lm: FrozenLM):
        self.lm = lm
        self.memory = Memory(0)
        self._engine = TorchEngine(lm, self.memory)

    def sample(
        self, requests: Sequence[Request], n: int, max_tokens: int, sampling: Sampling, stop: Sequence[str] = ()
    ) -> list[list[Continuation]]:
        """Each request by itself."""
        return [self._engine.sample([request], n, max_tokens, sampling, stop)[0] for request in requests]

    def score(self, prefixes: Sequence[Sequence[int]], choices: Sequence[Sequence[Sequence[int]]]) -> list[Tensor]:
        """Each prefix by itself."""
        return [self._engine.score([prefix], [of])[0] for prefix, of in zip(prefixes, choices, strict=True)]

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Tensor]:
        """Each text by itself."""
        return [self._engine.states([text], [count])[0] for text, count in zip(texts, last, strict=True)]

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Tensor:
        """Each text by itself."""
        return torch.cat([self._engine.rewards(reward, [text]) for text in texts])


def searches(lm: FrozenLM, prompts: Sequence[str], settings: RewindSettings, iterations: int) -> list[Search]:
    return [
        Search(prompt, tuple(lm.encode(prompt)), 0, settings.max_new_tokens, settings, lm.decode, iterations)
        for prompt in prompts
    ]


def ours(lm: FrozenLM, prompts: Sequence[str], judge: object, settings: RewindSettings, iterations: int) -> dict:
    memory = Memory()
    engine = TorchEngine(lm, memory)
    found = searches(lm, prompts, settings, iterations)
    writer = Writer(lm, engine, None, (), settings)
    last = Rewinder(engine, memory, writer, as_judge(judge), NoSimilarity()).run(found, Budget())
    return counted(found, memory, last.seconds)


def reference(lm: FrozenLM, prompts: Sequence[str], judge: object, settings: RewindSettings, iterations: int) -> dict:
    """One prompt after the other."""
    engine = OneByOne(lm)
    found = searches(lm, prompts, settings, iterations)
    writer = Writer(lm, engine, None, (), settings)
    seconds = 0.0
    expanded: set[Node] = set()

    def expand(turn: Turn) -> None:
        for search in turn.searches:
            for node in set(search.judged) - expanded:
                expanded.add(node)
                if node.parent and not node.ended:
                    writer.write([(search, Want("children", node))])

    for search in found:
        rewinder = Rewinder(engine, engine.memory, writer, as_judge(judge), NoSimilarity())
        seconds += rewinder.run([search], Budget(), expand).seconds
    return counted(found, engine.memory, seconds)


def counted(found: Sequence[Search], memory: Memory, seconds: float) -> dict:
    iterations = sum(search.iterations for search in found)
    return {
        "prompts": len(found),
        "iterations": iterations,
        "tokens_per_iteration": memory.spent.tokens / iterations,
        "calls_per_iteration": memory.spent.calls / iterations,
        "seconds": seconds,
        "token_ids": [list(search.token_ids) for search in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--iterations", type=int, default=60, help="of each search")
    parser.add_argument("--tokens", type=int, default=40, help="of each text, at most")
    parser.add_argument("--reference-prompts", type=int, default=2, help="how many prompts the reference searches")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    lm = trimtab.load(asked.model)
    settings = RewindSettings(max_new_tokens=asked.tokens)
    judges = {"self": "self", "toxicity": trimtab.reward("toxicity", lm).away(1)}
    rows = []
    for name, judge in judges.items():
        few = PROMPTS[: asked.reference_prompts]
        old = reference(
            lm.frozen, few, judge, RewindSettings(max_new_tokens=asked.tokens, lookahead=1), asked.iterations
        )
        runs = {"re-encoding": old}
        runs["one prompt"] = ours(lm.frozen, few[:1], judge, settings, asked.iterations)
        runs["eight prompts"] = ours(lm.frozen, PROMPTS, judge, settings, asked.iterations)
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
