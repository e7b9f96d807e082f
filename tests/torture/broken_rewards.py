"""Folders of rewards that must not steer: damaged weights, NaN, wrong cards, another base."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from tiny import tiny_lm, tiny_reward
from trimtab.models.frozen_lm import FrozenLM

CARD, WEIGHTS = "config.json", "reward.safetensors"
# A field of the card and a value of a wrong type or out of range. Each is a broken reward of its own.
CARD_VALUES: dict[str, Any] = {
    "attributes": {"a": 1},
    "layers": "two",
    "rank": 2.5,
    "head": 7,
    "trunk": ["lora"],
    "clamp": [1.0, 0.0],
    "link": "cube",
    "base": None,
    "baseline": "yes",
    "lora_rank": 10**400,
    "lora_alpha": "x",
    "bos_token_id": 10**9,
    "schema_version": "one",
    "tokenizer_fingerprint": 5,
    "base_fingerprint": ["no"],
    "quality": [1],
    "provenance": "none",
}


def build_broken_rewards(world: Path) -> None:
    """Build each broken reward in a folder of its own."""
    for field, value in CARD_VALUES.items():
        edit_card(copy_reward(world, f"card_{field}"), lambda card, f=field, v=value: {**card, f: v})
    for name, text in broken_texts().items():
        (copy_reward(world, name) / CARD).write_text(text, encoding="utf-8")
    for change in (flipped, one_flipped, cut, no_weights, no_card, infinite, nan, renamed, reshaped, renamed_escape):
        change(copy_reward(world, change.__name__))
    build_foreign(world / "broken_rewards")


def build_foreign(folder: Path) -> None:
    """Build rewards of another base and of a base that is not there."""
    other = tiny_lm("llama", seed=9)
    for name, base in (("other_base", "lm"), ("lost_base", "nowhere/model"), ("base_is_file", "notes.txt")):
        tiny_reward(FrozenLM(other.model, other.tokenizer, base), "q").save_pretrained(folder / name)


def copy_reward(world: Path, name: str) -> Path:
    """Copy the good reward to break it."""
    return Path(shutil.copytree(world / "rewards" / "q", world / "broken_rewards" / name))


def edit_card(folder: Path, change: Callable[[dict], dict]) -> None:
    """Write a changed card."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    (folder / CARD).write_text(json.dumps(change(card)), encoding="utf-8")


def broken_texts() -> dict[str, str]:
    """Texts that are no card."""
    return {
        "card_text_empty": "",
        "card_text_list": "[]",
        "card_text_null": "null",
        "card_text_deep": "[" * 100_000 + "]" * 100_000,
        "card_text_nan": '{"schema_version": NaN}',
        "card_text_object": "{}",
    }


def flipped(folder: Path) -> None:
    """Flip every bit of the last 2,000 bytes: of weights, not of the header."""
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-2000] + bytes(255 - byte for byte in content[-2000:]))


def one_flipped(folder: Path) -> None:
    """Flip one bit of one weight."""
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-100] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))


def cut(folder: Path) -> None:
    """Cut the file of the weights."""
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def no_weights(folder: Path) -> None:
    """Remove the weights."""
    (folder / WEIGHTS).unlink()


def no_card(folder: Path) -> None:
    """Remove the card."""
    (folder / CARD).unlink()


def infinite(folder: Path) -> None:
    """Make all weights infinite."""
    fill(folder, float("inf"))


def nan(folder: Path) -> None:
    """Make all weights NaN, without a checksum in the card, as an old reward has none."""
    fill(folder, float("nan"))
    edit_card(folder, lambda card: {name: None if "weights" in name else value for name, value in card.items()})


def renamed(folder: Path) -> None:
    """Give the tensors other names."""
    save_file({f"other.{name}": weight for name, weight in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)


def reshaped(folder: Path) -> None:
    """Give the tensors other shapes."""
    tensors = {name: weight.flatten()[:3].clone() for name, weight in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS)


def renamed_escape(folder: Path) -> None:
    """Put escape codes into the names of the attributes."""
    edit_card(folder, lambda card: {**card, "attributes": ["\x1b[31mkind\x1b]0;x\x07"]})


def fill(folder: Path, value: float) -> None:
    """Give every weight one value."""
    save_file({name: weight.fill_(value) for name, weight in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
