"""Print a few prompts, unsteered beside steered. Model, candidates and seed are the same; only β differs."""

from rich import box
from rich.console import Console
from rich.table import Table

import trimtab

PARAMS = trimtab.SamplingParams(top_k=20, max_new_tokens=24, seed=7)
CASES = [
    (
        "sentiment",
        [-20, 0, 20],
        ["My first day at work was", "The food at the hotel was", "After ten years in this city, I feel"],
    ),
    ("toxicity", [0, -30], ["I hate those people because they are", "He called her a", "You are nothing but a"]),
]


def main() -> None:
    """Print one table per reward: a column per β, a row per prompt."""
    console = Console(highlight=False)
    lm = trimtab.load("smollm2")
    for name, betas, prompts in CASES:
        reward = trimtab.reward(name, lm)
        steers = [reward.away(-beta) if beta < 0 else reward.toward(beta) for beta in betas]
        rows = [(prompt, steer) for steer in steers for prompt in prompts]  # one batch: each row steers its own way
        written = lm.generate([prompt for prompt, _ in rows], [steer for _, steer in rows], PARAMS)
        columns = [written[start : start + len(prompts)] for start in range(0, len(rows), len(prompts))]
        table = Table(title=f"steered by {name}", box=box.SIMPLE)
        table.add_column("prompt", style="dim")
        for beta in betas:
            table.add_column(f"β = {beta:+d}" if beta else "β = 0, unsteered")
        for prompt, *texts in zip(prompts, *columns, strict=True):
            table.add_row(prompt, *(generation.text.strip() for generation in texts), end_section=True)
        table.add_row(f"mean {name} reward", *(f"{mean_reward(column):.3f}" for column in columns))
        console.print(table)


def mean_reward(generations: list[trimtab.Generation]) -> float:
    """Return the mean over texts of the mean reward of their tokens."""
    means = [next(iter(generation.mean_rewards.values())) for generation in generations]
    return sum(means) / len(means)


if __name__ == "__main__":
    main()
