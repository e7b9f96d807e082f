"""A task that a tiny model learns in a few steps: texts of w1 … w9 are good, texts of w31 … w39 are bad."""

import random

from trimtab.data.tables import LabelledText, TextPair
from trimtab.training.recipe import Recipe


def good_words(count: int, seed: int = 0) -> list[LabelledText]:
    """Texts of 3 to 9 words, every second one good."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        first = 1 if number % 2 else 31
        words = [f"w{draw.randrange(first, first + 9)}" for _ in range(draw.randrange(3, 10))]
        rows.append(LabelledText(" ".join(words), (float(number % 2),)))
    return rows


def good_pairs(count: int, seed: int = 0) -> list[TextPair]:
    """Pairs of a good and a bad text."""
    rows = good_words(2 * count, seed)
    return [TextPair(good.text, bad.text) for bad, good in zip(rows[::2], rows[1::2], strict=True)]


def quick(**changes) -> Recipe:
    """Settings that learn the task in a second or two."""
    settings = {
        "rank": 8,
        "lora_rank": 4,
        "ladder_layers": 3,
        "ladder_width": 16,
        "ladder_heads": 2,
        "batch_size": 20,
        "epochs": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 5,
        "bf16": False,
        "checkpoints": 4,
    }
    return Recipe(**{**settings, **changes})
