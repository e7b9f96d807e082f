"""Calls with missing, surplus and swapped arguments, and with random values."""

import contextlib
import random
from functools import partial
from pathlib import Path
from typing import Any

import torch

import trimtab
from torture.call_world import Call, World, refuses
from torture.tables.calls_arguments import QUICK
from trimtab import judges, training
from trimtab.errors import TrimtabError


def try_random(seed: int, w: World) -> None:
    """Pass random nested values to the face; errors of ours are fine."""
    draw = random.Random(seed)
    for _ in range(30):
        value, name = random_value(draw), draw.choice(["prompts", "steer", "params", "stop", "seed", "top_p", "n"])
        with contextlib.suppress(TrimtabError):
            w.lm.generate(**{"prompts": "w1", "max_new_tokens": 1, name: value})


def random_value(draw: random.Random, depth: int = 0) -> Any:
    """A random value: a plain one, or a list, tuple or dict of others."""
    plain = [None, True, -1, 0, 2**70, 0.5, float("nan"), "", "w1", b"w1", 1j, object(), int, Path("w1"), ...]
    made = draw.choice(plain)
    for _ in range(draw.randint(0, 2) if depth < 3 else 0):
        inner = random_value(draw, depth + 1)
        made = draw.choice([[made, inner], (made, inner), {"role": made, "content": inner}, {"prompt": inner}, [inner]])
    return made


MISSING = [
    refuses("load(): too many", lambda w: trimtab.load("lm", "cpu", None, None, None)),
    refuses("load(nonsense=1)", lambda w: trimtab.load("lm", nonsense=1)),
    refuses("reward()", lambda w: trimtab.reward()),
    refuses("reward(nonsense=1)", lambda w: trimtab.reward("rewards/q", nonsense=1)),
    refuses("from_transformers()", lambda w: trimtab.from_transformers()),
    refuses("generate()", lambda w: w.lm.generate()),
    refuses("generate(nonsense=1)", lambda w: w.lm.generate("w1", nonsense=1)),
    refuses("generate(max_tokens=1)", lambda w: w.lm.generate("w1", max_tokens=1)),
    refuses("generate(do_sample=True)", lambda w: w.lm.generate("w1", do_sample=True)),
    refuses("generate(steer twice)", lambda w: w.lm.generate("w1", w.steer, steer=w.steer)),
    refuses("chat()", lambda w: w.chat.chat()),
    refuses("chat(nonsense=1)", lambda w: w.chat.chat([{"role": "user", "content": "w1"}], nonsense=1)),
    refuses("stream()", lambda w: w.lm.stream()),
    refuses("stream(n=2)", lambda w: w.lm.stream("w1", n=2)),
    refuses("stream(list)", lambda w: w.lm.stream(["w1", "w2"])),
    refuses("best_of()", lambda w: w.lm.best_of()),
    refuses("best_of(prompt)", lambda w: w.lm.best_of("w1")),
    refuses("rewind()", lambda w: w.lm.rewind()),
    refuses("rewind(nonsense=1)", lambda w: w.lm.rewind("w1", nonsense=1)),
    refuses("rewind(iterations=3)", lambda w: w.lm.rewind("w1", iterations=3)),
    refuses("SamplingParams(nonsense=1)", lambda w: trimtab.SamplingParams(nonsense=1)),
    refuses("RewindSettings(nonsense=1)", lambda w: trimtab.RewindSettings(nonsense=1)),
    refuses("Budget(1, 2, 3, 4)", lambda w: trimtab.Budget(1, 2, 3.0, 4)),
    refuses("Recipe(nonsense=1)", lambda w: training.Recipe(nonsense=1)),
    refuses("toward()", lambda w: w.q.toward()),
    refuses("toward(nonsense=1)", lambda w: w.q.toward(1.0, nonsense=1)),
    refuses("Steer()", lambda w: trimtab.Steer()),
    refuses("SteeringProcessor()", lambda w: trimtab.SteeringProcessor()),
    refuses("LanguageModel()", lambda w: trimtab.LanguageModel()),
    refuses("score()", lambda w: w.q.score()),
    refuses("load_judge()", lambda w: judges.load_judge()),
]
SWAPPED = [
    refuses("load(reward folder)", lambda w: trimtab.load("rewards/q")),
    refuses("load(lm)", lambda w: trimtab.load(w.lm)),
    refuses("reward(lm, name)", lambda w: trimtab.reward(w.lm, "rewards/q")),
    refuses("reward(model folder)", lambda w: trimtab.reward("lm", w.lm)),
    refuses("reward(name, transformers model)", lambda w: trimtab.reward("rewards/q", w.lm.model)),
    refuses("reward(name, FrozenLM)", lambda w: trimtab.reward("rewards/q", w.frozen)),
    refuses("from_transformers(tokenizer, model)", lambda w: trimtab.from_transformers(w.lm.tokenizer, w.lm.model)),
    refuses("from_transformers(body)", lambda w: trimtab.from_transformers(w.frozen.body, w.lm.tokenizer)),
    refuses("generate(steer, prompt)", lambda w: w.lm.generate(w.steer, "w1")),
    refuses("generate(steer=reward)", lambda w: w.lm.generate("w1", steer=w.q)),
    refuses("generate(steer=name)", lambda w: w.lm.generate("w1", steer="rewards/q=5")),
    refuses("generate(params as steer)", lambda w: w.lm.generate("w1", trimtab.SamplingParams())),
    refuses("generate(steers of another length)", lambda w: w.lm.generate(["w1", "w2"], [w.steer])),
    refuses("generate(a conversation)", lambda w: w.chat.generate([{"role": "user", "content": "w1"}])),
    refuses("generate(token ids)", lambda w: w.lm.generate([1, 2, 3])),
    refuses("generate(lists of token ids)", lambda w: w.lm.generate([[1, 2, 3]])),
    refuses("generate(tensor of ids)", lambda w: w.lm.generate(torch.tensor([[1, 2]]))),
    refuses("generate(BatchEncoding)", lambda w: w.lm.generate(w.lm.tokenizer("w1"))),
    refuses("generate(over the context)", lambda w: w.lm.generate("w1 " * 100)),
    refuses("generate(n=2**62)", lambda w: w.lm.generate("w1", n=2**62)),
    refuses("generate(n=10**9)", lambda w: w.lm.generate("w1", n=10**9, max_new_tokens=1)),
    refuses("generate(seed of numpy float)", lambda w: w.lm.generate("w1", seed=1.0)),
    refuses("chat(text)", lambda w: w.chat.chat("w1")),
    refuses("chat(two conversations)", lambda w: w.chat.chat([[{"role": "user", "content": "w1"}]])),
    refuses("chat(a list as content)", lambda w: w.chat.chat([{"role": "user", "content": [{"text": "w1"}]}])),
    refuses("chat(no template)", lambda w: w.lm.chat([{"role": "user", "content": "w1"}])),
    refuses("chat(role only)", lambda w: w.chat.chat([{"role": "user"}])),
    refuses("chat(other keys)", lambda w: w.chat.chat([{"from": "human", "value": "w1"}])),
    refuses("best_of(by a name)", lambda w: w.lm.best_of("w1", 2, "rewards/q")),
    refuses("best_of(by, n)", lambda w: w.lm.best_of("w1", w.q, 2)),
    refuses("rewind(judge=reward)", lambda w: w.lm.rewind("w1", w.q)),
    refuses("rewind(judge=model)", lambda w: w.lm.rewind("w1", w.lm)),
    refuses("rewind(seeds of another length)", lambda w: w.lm.rewind(["w1", "w2"], w.steer, settings=QUICK, seed=[1])),
    refuses("rewind(steers)", lambda w: w.lm.rewind(["w1", "w2"], w.steer, [w.steer, None], QUICK)),
    refuses("rewind(settings of sampling)", lambda w: w.lm.rewind("w1", w.steer, None, trimtab.SamplingParams())),
    refuses("RewindSettings(lengths of 3)", lambda w: trimtab.RewindSettings(lengths=(1, 2, 3))),
    refuses("RewindSettings(lengths of texts)", lambda w: trimtab.RewindSettings(lengths=("1", "2", "3", "4"))),
    refuses("RewindSettings(lengths below 1)", lambda w: trimtab.RewindSettings(lengths=(1, 2, 3, 0))),
    refuses(
        "RewindSettings(max_children below children)", lambda w: trimtab.RewindSettings(children=5, max_children=2)
    ),
]
RANDOM = [
    Call(f"generate(30 random values), seed {seed}", partial(try_random, seed), "each is accepted or refused by us")
    for seed in range(8)
]
CALLS = [*RANDOM, *MISSING, *SWAPPED]
