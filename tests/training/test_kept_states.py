"""Kept hidden states: the training that they give, and when the base runs."""

import pytest
import torch

from good_words import good_words, quick
from tiny import opening_lm, tiny_lm
from trimtab import errors
from trimtab.data.tables import LabelledText, TextPair
from trimtab.training.examples import Examples
from trimtab.training.fit import RunOptions
from trimtab.training.kept_states import KeptStates, with_states
from trimtab.training.labels import train_from_labels
from trimtab.training.pairs import train_from_pairs
from trimtab.training.run_folder import RunFolder

TRAIN, HELD_OUT = good_words(160), good_words(40, seed=1)


class Forwards:
    """Counts the tokens that go through a model."""

    def __init__(self, model):
        self.tokens = 0
        model.get_input_embeddings().register_forward_hook(self.count)

    def count(self, module, given, output):
        self.tokens += given[0].numel()


class Listed(Examples):
    """Examples in a list."""

    digest = "none"

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


def trained(folder, lm=None, rows=TRAIN, **changes):
    lm = lm or tiny_lm("llama")
    recipe = quick(trunk="ladder", **changes)
    return train_from_labels(lm, ["good"], rows, HELD_OUT, recipe, options=RunOptions(RunFolder(folder)))


def weights(reward):
    return {name: weight for name, weight in reward.network.state_dict().items() if "trunk" not in name}


def test_kept_states_train_the_same_reward(tmp_path):
    streamed, kept = trained(tmp_path / "streamed", epochs=2), trained(tmp_path / "kept", epochs=2, keep_states=True)
    for name, weight in weights(streamed).items():
        torch.testing.assert_close(weights(kept)[name], weight, atol=1e-4, rtol=1e-3)


def test_texts_with_bos_keep_its_state_too(tmp_path):
    """The tokenizer of this base puts BOS before a text, so that its ladder reads BOS."""
    lm = tiny_lm("llama")
    lm.__dict__["prepends_bos"] = True
    kept = trained(tmp_path / "kept", lm, epochs=1, keep_states=True)
    assert kept.card.bos_token_id == 1
    other = tiny_lm("llama")
    other.__dict__["prepends_bos"] = True
    streamed = trained(tmp_path / "streamed", other, epochs=1)
    for name, weight in weights(streamed).items():
        torch.testing.assert_close(weights(kept)[name], weight, atol=1e-4, rtol=1e-3)


def test_texts_that_start_with_bos_have_no_other(tmp_path):
    """A chat template has written it, so that the longest text of a batch has fewer states than columns."""
    rows = [LabelledText(f"<bos> {row.text}", row.labels) for row in TRAIN]
    streamed = trained(tmp_path / "streamed", opening_lm("llama"), rows, epochs=1)
    kept = trained(tmp_path / "kept", opening_lm("llama"), rows, epochs=1, keep_states=True)
    for name, weight in weights(streamed).items():
        torch.testing.assert_close(weights(kept)[name], weight, atol=1e-4, rtol=1e-3)


def test_a_resumed_run_reads_the_files_and_the_base_does_not_run(tmp_path):
    lm = tiny_lm("llama")
    network = trained(tmp_path / "run", epochs=1).network
    examples = [{"input_ids": [10 + i, 20, 30][: 1 + i % 3], "length": 1 + i % 3} for i in range(7)]
    counter = Forwards(network.trunk)
    first = KeptStates(Listed(examples), network, lm.pad_token_id, tmp_path / "states", bf16=False)
    assert counter.tokens >= sum(each["length"] for each in examples)
    counter.tokens = 0
    second = KeptStates(Listed(examples), network, lm.pad_token_id, tmp_path / "states", bf16=False)
    assert counter.tokens == 0
    for i, example in enumerate(examples):
        hidden = lm.body(torch.tensor([example["input_ids"]]), output_hidden_states=True).hidden_states
        expected = torch.stack([hidden[tap][0] for tap in network.ladder.taps], dim=1)
        for kept in (first, second):
            torch.testing.assert_close(kept[i]["states"], expected, atol=1e-4, rtol=1e-4)


def test_states_of_other_texts_are_refused(tmp_path):
    """A run that was interrupted before its first step left states; the same folder then gets other texts."""
    lm = tiny_lm("llama")
    network = trained(tmp_path / "run", epochs=1).network

    def keep(ids, digest):
        examples = Listed([{"input_ids": ids, "length": len(ids)}])
        examples.digest = digest
        return KeptStates(examples, network, lm.pad_token_id, tmp_path / "states", bf16=False)

    keep([10, 20], "first")
    keep([10, 20], "first")
    with pytest.raises(errors.InvalidData, match=r"the hidden states of texts of other settings \(texts: first there"):
        keep([30, 40], "second")


def test_batches_are_padded_on_the_left():
    parts = [{"states": torch.ones(2, 3, 4)}, {"states": torch.ones(1, 3, 4)}]
    batch = with_states(lambda examples: {})(parts)
    assert batch["states"].shape == (2, 2, 3, 4)
    assert batch["states"][1, 0].abs().sum() == 0
    assert with_states(lambda examples: {})([{}]) == {}


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(errors.InvalidSetting, match="got keep_states with trunk='lora'"):
        quick(keep_states=True)
    with pytest.raises(errors.InvalidSetting, match="keep_states without a run folder"):
        train_from_labels(tiny_lm("llama"), ["good"], TRAIN, HELD_OUT, quick(trunk="ladder", keep_states=True))
    pairs, options = [TextPair("w1 w2", "w3 w4")] * 4, RunOptions(RunFolder(tmp_path / "run"))
    recipe = quick(trunk="ladder", keep_states=True)
    with pytest.raises(errors.InvalidSetting, match="keep_states with pairs of texts"):
        train_from_pairs(tiny_lm("llama"), "good", pairs, pairs, recipe, options=options)


def test_a_damaged_file_is_named(tmp_path):
    trained(tmp_path / "run", epochs=1, keep_states=True)
    path = tmp_path / "run" / "states" / "000000.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    (tmp_path / "run" / "final.safetensors").unlink()
    with pytest.raises(errors.InvalidData, match=r"cannot read the hidden states in .*000000.safetensors"):
        trained(tmp_path / "run", epochs=1, keep_states=True)
