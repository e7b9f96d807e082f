"""The model card that is saved beside a reward, for people and for the Hub."""

from dataclasses import dataclass
from typing import final

from trimtab.data.json_text import dump_json
from trimtab.rewards.base_path import shown_base
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads import head_class, head_kind
from trimtab.rewards.registry import bundled_rewards
from trimtab.steering.notation import low_is_good

METADATA = "---\nlibrary_name: trimtab\ntags: [trimtab, reward-model, decoding]\n---"
LIMITS = """\
* Steering changes probabilities and guarantees nothing. Do not rely on it against people who attack the model.
* The reward is untested on other domains, languages and lengths than those of the data above.
* It scores prefixes of texts for steering. Do not use its scores for moderation.
* It steers only models with the tokenizer fingerprint above. Other models are refused.
"""


@final
@dataclass(frozen=True)
class Figures:
    """One table of a card.

    Attributes:
        title: what it shows.
        heads: the names of the columns; empty for a table of names and values.
        rows: the cells, as text.
    """

    title: str
    heads: list[str]
    rows: list[list[str]]


def model_card(card: RewardCard, name: str, hub_id: str | None = None, metadata: str = METADATA) -> str:
    """The README.md of a reward's folder, with the Hub's metadata block.

    Args:
        card: the reward's card.
        name: the reward's name.
        hub_id: what loads it; default: its name if it is bundled, else a folder of that name.
        metadata: the metadata block, with its fences.
    """
    parts = [
        metadata,
        f"# {name}\n\n{headline(card)}.",
        _snippet(card, hub_id or (name if name in bundled_rewards() else f"path/to/{name}")),
        *(_markdown(figures) for figures in card_figures(card)),
        "## Limits\n\n" + LIMITS,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def headline(card: RewardCard) -> str:
    """The method, the attributes and the base in one line."""
    return (
        f"{head_kind(card.head).title} for {', '.join(f'`{a}`' for a in card.attributes)}, on {shown_base(card.base)}"
    )


def card_figures(card: RewardCard) -> list[Figures]:
    """The card as tables: description, training, quality, and the tables among the figures of quality."""
    return [
        Figures("Description", [], _named(_description(card))),
        Figures("Training", [], _named(_flat(card.provenance))),
        Figures("Quality on held-out data", [], _named(_flat(card.quality))),
        *quality_tables(card.quality),
    ]


def quality_figures(quality: dict[str, object]) -> list[Figures]:
    """Measured quality as tables: the plain figures, then the tables."""
    return [Figures("Quality", [], _named(_flat(quality))), *quality_tables(quality)]


def _snippet(card: RewardCard, place: str) -> str:
    return (
        "```python\nimport trimtab\n\n"
        f'lm = trimtab.load("{shown_base(card.base)}")\nsteer = {_steer(card, place)}\n'
        'print(lm.generate("My first day at work was", steer=steer).text)\n```'
    )


def _steer(card: RewardCard, place: str) -> str:
    """A steer by a reward, at a usual strength; of log-probabilities that is 1."""
    away = low_is_good(card.attributes[0])
    beta = (30 if away else 20) if head_kind(card.head).scores_prefixes else 1
    return f'trimtab.reward("{place}", lm).{"away" if away else "toward"}(beta={beta})'


def _description(card: RewardCard) -> dict[str, object]:
    depths = ", ".join(map(str, card.taps))
    trunks = {
        "frozen": "frozen",
        "ladder": f"frozen, under a ladder of width {card.ladder_width} that reads the depths {depths}",
        "lora": f"with LoRA adapters of rank {card.lora_rank}",
        "full": "trained as a whole",
    }
    return {
        "head": head_class(card.head).describe(card),
        "trunk": f"the first {card.layers} layers, {trunks[card.trunk]}",
        "clamp": "none" if card.clamp is None else f"{card.clamp[0]:.3g} to {card.clamp[1]:.3g}",
        "tokenizer fingerprint": card.tokenizer_fingerprint,
        "base fingerprint": card.base_fingerprint,
        "base weights fingerprint": card.base_weights_fingerprint or "not recorded",
        "dtype of the weights": card.weights_dtype or "not saved",
        "SHA-256 of the weights": card.weights_sha256 or "not recorded",
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


def quality_tables(quality: dict[str, object]) -> list[Figures]:
    """The figures that are tables: by prefix, range, calibration."""
    tables = []
    for name, value in quality.items():
        rows = [value] if isinstance(value, dict) else value
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            tables.append(Figures(name, list(map(str, rows[0])), [list(map(_cell, row.values())) for row in rows]))
    return tables


def _named(facts: dict[str, object]) -> list[list[str]]:
    return [[name, _cell(value)] for name, value in facts.items()]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else dump_json(value)


def _markdown(figures: Figures) -> str:
    heads = figures.heads or ["", ""]
    lines = [heads, ["---"] * len(heads), *figures.rows]
    table = "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)
    return f"{figures.title if figures.heads else '## ' + figures.title}\n\n{table}"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
