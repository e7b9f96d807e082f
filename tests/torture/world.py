"""The folder in which each case runs: tiny models, rewards, tables and texts, and broken ones of each."""

import contextlib
import gzip
import json
import os
import shutil
import stat
from pathlib import Path

from tiny import WORDS, save_lm, tiny_lm, tiny_reward
from tiny_chat import TEMPLATE
from torture.broken_models import build_broken_models
from torture.broken_rewards import build_broken_rewards
from trimtab.models.frozen_lm import FrozenLM

ESCAPE = "\x1b[31mred\x1b]0;title\x07\x9b32m\x7f\u202e"
DEEP = 100_000


def build_world(folder: Path) -> Path:
    """Build the world in an empty folder and return the folder. Every path in a case is relative to it."""
    lm = build_models(folder)
    build_rewards(folder, lm)
    build_broken_models(folder / "broken", lm)
    build_broken_rewards(folder)
    build_texts(folder)
    build_tables(folder)
    build_places(folder)
    return folder


def build_models(folder: Path) -> FrozenLM:
    """Build the language models; `lm` is the base of the rewards, `chat` has a chat template too."""
    plain = tiny_lm("llama", seed=3)
    lm = FrozenLM(plain.model, plain.tokenizer, "lm")
    save_lm(plain, folder / "lm")
    shutil.copytree(folder / "lm", folder / "chat")
    (folder / "chat" / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    gpt2 = tiny_lm("gpt2")
    save_lm(gpt2, folder / "gpt2")
    return lm


def build_rewards(folder: Path, lm: FrozenLM) -> None:
    """Build a reward of each head."""
    for head in ("q", "v"):
        tiny_reward(lm, head, attributes=("kind",)).save_pretrained(folder / "rewards" / head)


def build_texts(folder: Path) -> None:
    """Build files of prompts and of texts."""
    prompts = [{"prompt": f"{WORDS[i]} {WORDS[i + 1]}", "text": f"{WORDS[i]} w3"} for i in range(6)]
    write_rows(folder / "prompts.jsonl", prompts)
    write_rows(folder / "messages.jsonl", [{"messages": [{"role": "user", "content": "w1"}]}])
    files = {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n\n  \n",
        "binary.jsonl": bytes(range(256)) * 4,
        "deep.jsonl": b"[" * DEEP + b"]" * DEEP + b"\n",
        "deep_object.jsonl": b'{"prompt": ' + b'{"a": ' * DEEP + b"1" + b"}" * DEEP + b"}\n",
        "nan.jsonl": b'{"prompt": NaN}\n{"prompt": "w1", "text": NaN}\n',
        "huge_number.jsonl": b'{"prompt": "w1", "text": "w1", "x": ' + b"9" * 5000 + b"}\n",
        "infinite.jsonl": b'{"prompt": "w1", "text": "w1", "label": 1e999}\n',
        "bom.jsonl": b'\xef\xbb\xbf{"prompt": "w1 w2", "text": "w1"}\n',
        "crlf.jsonl": b'{"prompt": "w1 w2", "text": "w1"}\r\n{"prompt": "w3", "text": "w3"}\r\n',
        "separator.jsonl": '{"prompt": "w1\u2028w2", "text": "w1\u2028w2"}\n'.encode(),
        "surrogate.jsonl": b'{"prompt": "w1 \\ud800", "text": "w1 \\ud800"}\n',
        "null_character.jsonl": b'{"prompt": "w1 \\u0000", "text": "w1 \\u0000"}\n',
        "escape.jsonl": json.dumps({"prompt": f"w1 {ESCAPE}", "text": f"w1 {ESCAPE}"}).encode() + b"\n",
        "latin.jsonl": '{"prompt": "w1 é", "text": "é"}\n'.encode("latin-1"),
        "utf16.jsonl": '{"prompt": "w1", "text": "w1"}\n'.encode("utf-16"),
        "list.jsonl": b'["w1", "w2"]\n',
        "number.jsonl": b"1\n2\n",
        "no_prompt.jsonl": b'{"question": "w1"}\n',
        "wrong_types.jsonl": b'{"prompt": 1, "text": [1]}\n{"prompt": ["w1"], "text": {}}\n{"prompt": null}\n',
        "wrong_messages.jsonl": b'{"messages": "w1"}\n{"messages": [1]}\n{"messages": [{"role": "user"}]}\n'
        b'{"messages": [{"role": "nobody", "content": "w1"}]}\n{"messages": [{"role": 1, "content": 2}]}\n',
        "torn.jsonl": b'{"prompt": "w1 w2"}\n{"prompt": "w1',
        "long.jsonl": json.dumps({"prompt": "w1 " * 5000, "text": "w1 " * 5000}).encode() + b"\n",
        "not_gz.jsonl.gz": b'{"prompt": "w1"}\n',
        "truncated.jsonl.gz": gzip.compress(b'{"prompt": "w1", "text": "w1"}\n' * 500)[:60],
        "fine.jsonl.gz": gzip.compress(b'{"prompt": "w1", "text": "w1"}\n'),
        "question.toml": b"[[[",
        "deep.toml": b"a = " + b"[" * 3000 + b"]" * 3000,
        "state.bin": b"no state dict",
        "notes.txt": b"keep me\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)


def build_tables(folder: Path) -> None:
    """Build tables for training, measuring and evaluating."""
    rows = [{"text": f"{WORDS[i % 60]} {WORDS[(7 * i) % 60]} w3", "label": float(i % 2)} for i in range(60)]
    write_rows(folder / "labels.jsonl", rows)
    pairs = [{"chosen": f"w1 {WORDS[i % 60]}", "rejected": f"w2 {WORDS[i % 60]}"} for i in range(40)]
    write_rows(folder / "pairs.jsonl", pairs)
    asked = [{"prompt": f"w1 {WORDS[i]}", "choices": [" w1", " w2"], "answer": i % 2} for i in range(4)]
    write_rows(folder / "choices.jsonl", asked)
    write_rows(folder / "no_label.jsonl", [{"text": row["text"]} for row in rows])
    write_rows(folder / "one_row.jsonl", rows[:1])
    write_rows(folder / "text_labels.jsonl", [{**row, "label": "good"} for row in rows])
    write_rows(folder / "null_labels.jsonl", [{**row, "label": None} for row in rows])
    write_rows(folder / "big_labels.jsonl", [{**row, "label": 10**400} for row in rows])
    write_rows(folder / "deep_labels.jsonl", [{**row, "label": {"a": {"b": [1]}}} for row in rows])
    write_rows(folder / "scale.jsonl", [{**row, "label": 1 + i % 5} for i, row in enumerate(rows)])
    write_rows(folder / "empty_texts.jsonl", [{"text": "", "label": 1.0}] * 10)
    write_rows(folder / "number_texts.jsonl", [{"text": 7, "label": 1.0}] * 10)
    write_rows(folder / "same_pairs.jsonl", [{"chosen": "w1", "rejected": "w1"}] * 10)
    write_rows(folder / "null_pairs.jsonl", [{"chosen": None, "rejected": 1}] * 10)
    tables = {
        "labels.csv": "text,label\n" + "".join(f'"{row["text"]}",{row["label"]}\n' for row in rows),
        "ragged.csv": "text,label\nw1,1,2,3\nw2\n" * 5,
        "no_header.csv": "w1,1\nw2,0\n",
        "only_header.csv": "text,label\n",
        "huge_field.csv": "text,label\n" + "w1 " * 60_000 + ",1\nw2,0\n",
        "null_byte.csv": "text,label\nw1\0,1\nw2,0\n",
        "quote.csv": 'text,label\n"w1,1\nw2,0\n',
        "long_number.csv": "text,label\nw1," + "9" * 400 + "\nw2,0\n",
        "nan.csv": "text,label\nw1,nan\nw2,inf\n",
        "unknown.parquet": "PAR1",
    }
    for name, text in tables.items():
        (folder / name).write_text(text, encoding="utf-8")


def build_places(folder: Path) -> None:
    """Build places to write to that are wrong, or stand in the way."""
    (folder / "folder").mkdir()
    (folder / "folder" / "other.txt").write_text("keep me\n", encoding="utf-8")
    (folder / "link").symlink_to("notes.txt")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere/file")
    (folder / "link.folder").symlink_to("folder")
    (folder / "file.folder").write_text("a file\n", encoding="utf-8")


def copy_world(world: Path, folder: Path) -> Path:
    """Copy the world for one case, and add devices and a pipe, which cannot be copied."""
    shutil.copytree(world, folder, symlinks=True)
    os.mkfifo(folder / "pipe")
    for name, minor in (("full", 7), ("null", 3)):
        try:
            os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        except OSError:  # only root may make a device
            (folder / name).symlink_to(f"/dev/{name}")
    return folder


def remove_world(folder: Path) -> None:
    """Remove the copy of a case."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder)


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
