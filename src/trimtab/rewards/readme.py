"""The model card that is saved beside a reward, for people and for the Hub: what it is, how it was made, its limits."""

import json
from typing import Any

from trimtab.rewards.card import RewardCard
from trimtab.rewards.catalogue import bundled_rewards

METHODS = {"q": "ARM (Q-head, 2407.04615)", "v": "RAD (V-head, 2310.09520)"}
LIMITS = """\
* It moves probabilities and guarantees nothing. Do not rely on it against people who attack the model.
* It knows its training data: other domains, languages and lengths are untested unless the table above says so.
* Scores are of text prefixes, for steering; they are not a moderation verdict.
* It steers only models with the tokenizer whose fingerprint it carries; others are refused.
"""


def model_card(card: RewardCard, name: str) -> str:
    """README.md for a reward's folder, with the Hub's metadata block."""
    parts = [
        "---\nlibrary_name: trimtab\ntags: [trimtab, reward-model, decoding]\n---",
        f"# {name}\n\n{METHODS[card.head]} for {', '.join(f'`{a}`' for a in card.attributes)}, on {card.base}.",
        _snippet(card, name),
        "## What it is\n\n" + _table(_anatomy(card)),
        "## How it was made\n\n" + _table(_flat(card.provenance)),
        "## What it measured, on held-out data\n\n" + _table(_flat(card.quality)),
        *_tables(card.quality),
        "## Limits\n\n" + LIMITS,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _snippet(card: RewardCard, name: str) -> str:
    place = name if name in bundled_rewards() else f"path/to/{name}"
    return (
        "```python\nimport trimtab\n\n"
        f'lm = trimtab.load("{card.base}")\nsteer = trimtab.reward("{place}", lm).toward(beta=20)\n'
        'print(lm.generate("The new neighbours are", steer=steer).text)\n```'
    )


def _anatomy(card: RewardCard) -> dict[str, Any]:
    head = f"Q of rank {card.rank}" if card.head == "q" else "V"
    adapters = f", LoRA of rank {card.lora_rank}" if card.trunk == "lora" else ""
    return {
        "head": head if card.baseline else head + ", of differences",
        "trunk": f"the first {card.layers} layers, {card.trunk}{adapters}",
        "clamp": "none" if card.clamp is None else f"{card.clamp[0]:.3g} to {card.clamp[1]:.3g}",
        "tokenizer fingerprint": card.tokenizer_fingerprint,
        "base fingerprint": card.base_fingerprint,
    }


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    recipe = {f"recipe: {name}": value for name, value in facts.get("recipe", {}).items()}
    plain = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    plain |= {f"share of {name} from ½ on": share for name, share in facts.get("share_high", {}).items()}
    return plain | recipe


def _tables(quality: dict[str, Any]) -> list[str]:
    """What is more than a number: by prefix, range, calibration."""
    parts = []
    for name, value in quality.items():
        if isinstance(value, dict):
            parts.append(f"{name}\n\n" + _rows(list(value), [list(value.values())]))
        elif isinstance(value, list) and value:
            parts.append(f"{name}\n\n" + _rows(list(value[0]), [list(row.values()) for row in value]))
    return parts


def _table(facts: dict[str, Any]) -> str:
    return _rows(["", ""], [[name, _cell(value)] for name, value in facts.items()])


def _rows(heads: list[str], rows: list[list[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
