"""The README.md that is saved beside a draft head, for people."""

from trimtab.data.json_text import dump_json
from trimtab.drafts.card import DraftCard
from trimtab.rewards.base_path import shown_base


def draft_readme(card: DraftCard, name: str) -> str:
    """What the head is, how it is used, how often it is right, and how it was made.

    Args:
        card: its card.
        name: the name of its folder.
    """
    base = shown_base(card.base)
    figures = "\n".join(f"| {figure} | {_shown(value)} |" for figure, value in card.quality.items())
    return f"""# {name}

A draft head for {base}: it guesses the next tokens, and the model checks several in one forward call. No text changes.

```python
import trimtab

lm = trimtab.load({dump_json(base)}, draft="path/to/{name}")
out = lm.generate("The food at the hotel was", speculate="draft")
print(out.text, out.usage)
```

One layer of width {card.width} over the model's states at the depths {", ".join(map(str, card.taps))}. It drafts
{card.tokens} tokens, and no other.

| on held-out texts | |
|---|---|
{figures}

"Acceptance j" is the share of texts' places where the j-th drafted token is the one that the model chooses at
temperature 1, if those before it were right; "greedy j" the same without noise.

It fits the weights {card.base_weights_fingerprint} alone. Another model is refused.

```json
{dump_json(card.provenance, indent=2)}
```
"""


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
