import json
import math

import pytest
import torch

from tiny import tiny_lm
from trimtab import errors
from trimtab.training.data import LabelledText, TokenizedTexts, read_labelled, select_balanced, select_rows
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import Recipe


@pytest.mark.parametrize("head", ["q", "v"])
@pytest.mark.parametrize("trunk", ["frozen", "lora", "full"])
def test_a_reward_learns_what_a_word_means(head, trunk):
    """w1 … w9 are good, w31 … w39 are bad: a few steps suffice to tell unseen texts of them apart."""
    lm = tiny_lm("llama", seed=3)
    before = {name: weight.clone() for name, weight in lm.model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    rows = []
    for label in (0.0, 1.0) * 200:
        words = torch.randint(1, 10, (5,), generator=generator) + (0 if label else 30)
        rows.append(LabelledText(" ".join(f"w{w}" for w in words.tolist()), (label,)))
    recipe = Recipe(
        head=head,
        trunk=trunk,
        rank=8,
        lora_rank=4,
        batch_size=20,
        epochs=4,
        learning_rate=1e-2,
        warmup_steps=5,
        bf16=False,
    )
    reward = train_from_labels(lm, ["good"], rows[:320], rows[320:], recipe)
    assert reward.card.quality["accuracy:good"] > (0.8 if trunk == "frozen" else 0.95)
    assert reward.card.quality["texts"] == 80
    assert reward.card.provenance["recipe"]["head"] == head
    assert (reward.card.provenance["texts"], reward.card.provenance["truncated"]) == (320, 0)
    scores = reward.score(["w2 w3 w4", "w32 w33 w34"])[:, 0].tolist()
    assert scores[0] > scores[1]
    after = lm.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_is_the_same_for_a_seed():
    rows = [LabelledText(f"w{i} w{i + 1}", (float(i % 2),)) for i in range(1, 41)]
    recipe = Recipe(rank=4, lora_rank=2, batch_size=8, warmup_steps=1, bf16=False, seed=7)
    tensors = []
    for _ in range(2):
        reward = train_from_labels(tiny_lm("qwen2"), ["good"], rows, rows[:8], recipe)
        tensors.append(reward.network.state_dict())
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_bad_rows_are_counted_and_named(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [
        json.dumps({"text": "line\u2028separator is text", "label": 1}, ensure_ascii=False),
        "not json",
        json.dumps({"text": "", "label": 0}),
        json.dumps({"text": "no label"}),
        json.dumps({"text": "label out of range", "label": 3}),
        json.dumps([1]),
        "",
        json.dumps({"text": "soft", "label": 0.25}),
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    read = read_labelled(str(path), ["label"])
    assert [row.labels for row in read.rows] == [(1.0,), (0.25,)]
    assert [fault.split(":")[0] for fault in read.faults] == [f"line {n}" for n in (2, 3, 4, 5, 6)]
    with pytest.raises(errors.InvalidData, match="no usable row"):
        read_labelled(str(path), ["other"])
    with pytest.raises(errors.InvalidData, match="no such file"):
        read_labelled(str(tmp_path / "none.jsonl"), ["label"])


def test_balanced_rows_have_as_many_of_each_class():
    rows = [LabelledText(str(i), (float(i < 10),)) for i in range(100)]
    chosen = select_balanced(rows, 12, seed=0)
    assert sorted(row.labels[0] for row in chosen) == [0.0] * 6 + [1.0] * 6
    assert select_rows(rows, 30, seed=0) == select_rows(rows, None, seed=0)[:30]
    with pytest.raises(errors.InvalidData, match="balance"):
        select_balanced(rows[:10], None, seed=0)


def test_long_texts_lose_their_end_and_are_counted(llama):
    texts = TokenizedTexts([LabelledText("w1 w2 w3", (1.0,)), LabelledText("w4", (0.0,))], llama, max_tokens=2)
    assert [example["input_ids"] for example in texts] == [[5, 6], [8]]
    assert texts.truncated == 1


def test_recipes_out_of_range_are_refused():
    for settings in ({"rank": 0}, {"regulariser": -1.0}, {"epochs": 0}, {"layers": 0}, {"learning_rate": math.nan}):
        with pytest.raises(errors.InvalidSetting, match="expected"):
            Recipe(**settings)
