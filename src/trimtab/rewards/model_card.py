"""The model card that is saved beside a reward, for people and for the Hub."""

import json

from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads import head_class, head_kind
from trimtab.rewards.registry import bundled_rewards

LIMITS = """\
* Steering changes probabilities and guarantees nothing. Do not rely on it against people who attack the model.
* The reward is untested on other domains, languages and lengths than those of the data above.
* It scores prefixes of texts for steering. Do not use its scores for moderation.
* It steers only models with the tokenizer fingerprint above. Other models are refused.
"""


def model_card(card: RewardCard, name: str) -> str:
    """The README.md of a reward's folder, with the Hub's metadata block."""
    parts = [
        "---\nlibrary_name: trimtab\ntags: [trimtab, reward-model, decoding]\n---",
        f"# {name}\n\n{head_kind(card.head).title} for {', '.join(f'`{a}`' for a in card.attributes)}, on {card.base}.",
        _snippet(card, name),
        "## Description\n\n" + _table(_description(card)),
        "## Training\n\n" + _table(_flat(card.provenance)),
        "## Quality on held-out data\n\n" + _table(_flat(card.quality)),
        *_tables(card.quality),
        "## Limits\n\n" + LIMITS,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _snippet(card: RewardCard, name: str) -> str:
    place = name if name in bundled_rewards() else f"path/to/{name}"
    return (
        "```python\nimport trimtab\n\n"
        f'lm = trimtab.load("{card.base}")\nsteer = trimtab.reward("{place}", lm).toward(beta=20)\n'
        'print(lm.generate("My first day at work was", steer=steer).text)\n```'
    )


def _description(card: RewardCard) -> dict[str, object]:
    trunks = {"frozen": "frozen", "lora": f"with LoRA adapters of rank {card.lora_rank}", "full": "trained as a whole"}
    return {
        "head": head_class(card.head).describe(card),
        "trunk": f"the first {card.layers} layers, {trunks[card.trunk]}",
        "clamp": "none" if card.clamp is None else f"{card.clamp[0]:.3g} to {card.clamp[1]:.3g}",
        "tokenizer fingerprint": card.tokenizer_fingerprint,
        "base fingerprint": card.base_fingerprint,
    }


def _flat(facts: dict[str, object]) -> dict[str, object]:
    """The facts that are plain values, then the recipe's; tables are left out."""
    recipe, shares = facts.get("recipe"), facts.get("share_high")
    plain = {name: value for name, value in facts.items() if not isinstance(value, dict | list)}
    if isinstance(shares, dict):
        plain |= {f"share of texts with {name} ≥ 0.5": share for name, share in shares.items()}
    if isinstance(recipe, dict):
        plain |= {f"recipe: {name}": value for name, value in recipe.items()}
    return plain


def _tables(quality: dict[str, object]) -> list[str]:
    """The figures that are tables: by prefix, range, calibration."""
    parts = []
    for name, value in quality.items():
        if isinstance(value, dict):
            parts.append(f"{name}\n\n" + _rows(list(value), [list(value.values())]))
        elif isinstance(value, list) and value:
            parts.append(f"{name}\n\n" + _rows(list(value[0]), [list(row.values()) for row in value]))
    return parts


def _table(facts: dict[str, object]) -> str:
    return _rows(["", ""], [[name, value] for name, value in facts.items()])


def _rows(heads: list[str], rows: list[list[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
