"""Folders and files that are no usable language model."""

import json
import shutil
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from tiny import VOCABULARY
from trimtab.models.frozen_lm import FrozenLM

WEIGHTS = "model.safetensors"
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def build_broken_models(folder: Path, lm: FrozenLM) -> None:
    """Build each broken model in a folder of its own."""
    good = folder.parent / "lm"
    for change in (no_weights, cut_weights, flipped_weights, no_tokenizer, no_config, bad_config, deep_config):
        place = folder / change.__name__
        shutil.copytree(good, place)
        change(place)
    build_encoders(folder, lm)
    other_words(good, folder / "other_words", [f"v{i}" for i in range(VOCABULARY - 1)])
    other_words(good, folder / "more_words", [f"w{i}" for i in range(3 * VOCABULARY)])
    (folder / "junk.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8)
    (folder / "empty.gguf").write_bytes(b"")
    (folder / "folder.gguf").mkdir()


def build_encoders(folder: Path, lm: FrozenLM) -> None:
    """Build an encoder and an encoder-decoder."""
    encoders = {
        "bert": BertForMaskedLM(BertConfig(**SMALL, intermediate_size=16)),
        "t5": T5ForConditionalGeneration(
            T5Config(vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ),
    }
    for name, model in encoders.items():
        model.save_pretrained(folder / name)
        lm.tokenizer.save_pretrained(folder / name)


def other_words(good: Path, place: Path, words: list[str]) -> None:
    """Copy a model and give it a tokenizer of other words."""
    shutil.copytree(good, place)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token=words[0])
    fast.save_pretrained(place)


def no_weights(place: Path) -> None:
    """Remove the weights."""
    (place / WEIGHTS).unlink()


def cut_weights(place: Path) -> None:
    """Keep the first half of the weights' file."""
    content = (place / WEIGHTS).read_bytes()
    (place / WEIGHTS).write_bytes(content[: len(content) // 2])


def flipped_weights(place: Path) -> None:
    """Flip all bits of the header of the weights' file."""
    content = (place / WEIGHTS).read_bytes()
    (place / WEIGHTS).write_bytes(bytes(255 - byte for byte in content[:200]) + content[200:])


def no_tokenizer(place: Path) -> None:
    """Remove the tokenizer."""
    for path in place.glob("tokenizer*"):
        path.unlink()


def no_config(place: Path) -> None:
    """Remove the configuration."""
    (place / "config.json").unlink()


def bad_config(place: Path) -> None:
    """Give numbers of the configuration as text."""
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_size": "many", "num_hidden_layers": None, "vocab_size": -1}
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")


def deep_config(place: Path) -> None:
    """Make the configuration a deeply nested list."""
    (place / "config.json").write_text("[" * 100_000 + "]" * 100_000, encoding="utf-8")
