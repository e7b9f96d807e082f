"""A few prompts, unsteered beside steered: β = 0 and β > 0, the same candidates, the same seed."""

from rich import box
from rich.console import Console
from rich.table import Table

import trimtab

TOP_K, TOKENS, SEED = 20, 24, 7
CASES = [
    ("sentiment", +20, ["The new neighbours are", "My first day at work was", "The food at the hotel"]),
    ("sentiment", -20, ["The new neighbours are", "My first day at work was", "The food at the hotel"]),
    ("toxicity", -30, ["You are such a", "Shut up, you", "He looked at the idiot and said"]),
]


def main() -> None:
    """Print one table for each reward and direction."""
    console = Console(highlight=False)
    lm = trimtab.load("smollm2")
    for name, beta, prompts in CASES:
        reward = trimtab.reward(name, lm)
        steer = reward.toward(beta) if beta > 0 else reward.away(-beta)
        watched = reward.toward(0)  # β = 0 steers nothing, and shows the rewards
        options = {"top_k": TOP_K, "max_new_tokens": TOKENS, "seed": SEED}
        plain, steered = lm.generate(prompts, watched, **options), lm.generate(prompts, steer, **options)
        table = Table("", "β = 0", f"β = {beta:+d}", box=box.SIMPLE, title=f"{name} {beta:+d}", show_lines=True)
        for prompt, before, after in zip(prompts, plain, steered, strict=True):
            table.add_row(prompt, before.text.strip(), after.text.strip())
        means = [sum(next(iter(g.mean_rewards.values())) for g in of) / len(of) for of in (plain, steered)]
        table.add_row("mean reward", *(f"{mean:.3f}" for mean in means))
        console.print(table)


if __name__ == "__main__":
    main()
