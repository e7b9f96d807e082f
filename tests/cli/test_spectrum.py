"""`trimtab spectrum`."""

import json

from trimtab.rewards.card import read_card


def test_ranks_are_printed_and_written(trimtab, place, teacher, train_labels):
    if not (place / "q").exists():
        train_labels("--limit", 100, "--out", place / "q")
    data = ["--data", place / "train.csv", "--text-column", "sentence", "--prefixes", 40, "--tokens", 0]
    done = trimtab("spectrum", teacher, place / "q", *data, "--out", place / "s")
    found = json.loads((place / "s" / "spectrum.json").read_text(encoding="utf-8"))
    assert [row["prefixes"] for row in found["ranks"]["q"]] == [16, 32, 40]
    assert found["ranks"]["q"][-1]["numerical"] <= read_card(place / "q").rank + 1  # the baseline adds one
    assert found["tokens"] == 64
    assert (place / "s" / "spectrum.png").stat().st_size > 1000
    assert "ranks of N prefixes × 64 tokens; hidden size 32" in done.stdout
    last = done.stdout.split("40 ", 1)[1].split()
    assert last[0] == str(found["ranks"]["teacher"][-1]["numerical"])
