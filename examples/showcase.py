"""Continue sixteen everyday prompts at three strengths, and write all texts to results/showcase.md.

    python examples/showcase.py results/showcase.md

The README and the picture show the prompt whose three texts read best, picked by eye. This page shows all of them.
"""

import sys
from pathlib import Path

import trimtab

PROMPTS = [
    "My first day at work was",
    "The food at the hotel was",
    "The new neighbours are",
    "When I opened the letter, I",
    "Our holiday in Rome was",
    "The meeting this morning was",
    "My grandmother told me that",
    "The film we saw last night was",
    "After ten years in this city, I feel",
    "The customer called again, and",
    "This phone is",
    "Dear team, the results of this quarter are",
    "The weather today makes me",
    "I asked the waiter about the soup, and he",
    "The book I just finished was",
    "Last weekend my brother and I",
]
BETAS = [-20, 0, 20]
PARAMS = trimtab.SamplingParams(max_new_tokens=24, seed=0)
INTRODUCTION = """\
# Sixteen prompts, three strengths

SmolLM2-135M-Instruct in float32, the bundled reward `sentiment`, 24 tokens, seed 0; only β differs. These are all texts
of `python examples/showcase.py results/showcase.md`. The README shows the second prompt, picked by eye because its
three texts read best. At |β| = 20 the texts of so small a model bend, and some break. The model takes some prompts for
code (the third), whatever the reward says.

"""


def main(out: Path) -> None:
    """Write the page."""
    lm = trimtab.load("smollm2")
    sentiment = trimtab.reward("sentiment", lm)
    steers = {-20: sentiment.away(20), 0: None, 20: sentiment.toward(20)}
    rows = [(prompt, beta) for prompt in PROMPTS for beta in BETAS]
    written = lm.generate([prompt for prompt, _ in rows], [steers[beta] for _, beta in rows], PARAMS)
    texts = [generation.text.strip().replace("\n", " ⏎ ").replace("|", "\\|") for generation in written]
    lines = ["| prompt | β = −20 | β = 0 | β = 20 |", "|---|---|---|---|"]
    for place, prompt in enumerate(PROMPTS):
        lines.append(f"| {prompt} | " + " | ".join(texts[3 * place : 3 * place + 3]) + " |")
    out.write_text(INTRODUCTION + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
