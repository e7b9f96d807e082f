"""A comparison of a few methods on a tiny model."""

from dataclasses import replace

from tiny import tiny_reward
from trimtab.evaluation.run.plan import Plan
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.evaluation.run.sweep import Sweep
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.judges.text_judges import TextJudge

SETTINGS = SweepSettings("tiny", samples=3, max_new_tokens=4, top_k=6, batch_size=2)
CHAT_SETTINGS = replace(SETTINGS, chat=True, system="w9 w8")
GRID = Grid(reward=["q", "v"], beta=[2.0, 5.0], best_of=[2])
SETS = [PromptSet("some", "up", ("w1 w2", "w3", "w4 w5 w6")), PromptSet("more", "down", ("w7 w8",))]


def messages(text):
    """The conversation that `CHAT_SETTINGS` make of a prompt."""
    return [{"role": "system", "content": "w9 w8"}, {"role": "user", "content": text}]


def tiny_sweep(lm, folder, settings=SETTINGS, grid=GRID, sets=SETS):
    """A sweep over two rewards, alone and together, and best-of-n by one of them."""
    rewards = {name: [(tiny_reward(lm.base, name), None)] for name in ("q", "v")}
    rewards["q+v"] = [rewards["q"][0], (rewards["v"][0][0], "calm")]
    plan = Plan(grid, settings, rewards, rewards["q"][0])
    return Sweep("prompts", plan.rows(sets), settings, folder)


def length(texts):
    """The length of each text over 20 characters, at most 1."""
    return [min(1.0, len(text) / 20) for text in texts]


LENGTH = TextJudge("length", length)


def contents(folder):
    """The bytes of each row's file."""
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
