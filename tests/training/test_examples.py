"""Tokenized texts and pairs."""

import pytest

from trimtab import errors
from trimtab.data.tables import LabelledText, TextPair
from trimtab.training.examples import TokenizedPairs, TokenizedTexts, encode_all


def test_long_texts_lose_their_end_and_are_counted(llama):
    texts = TokenizedTexts([LabelledText("w1 w2 w3", (1.0,)), LabelledText("w4", (0.0,))], llama, max_tokens=2)
    assert [example["input_ids"] for example in texts] == [[5, 6], [8]]
    assert [example["labels"] for example in texts] == [(1.0,), (0.0,)]
    assert [example["length"] for example in texts] == [2, 1]
    assert texts.truncated == 1


def test_both_texts_of_a_pair_are_cut(llama):
    pairs = TokenizedPairs([TextPair("w1 w2 w3", "w4"), TextPair("w5", "w6 w7 w8")], llama, max_tokens=2)
    assert [(pair["chosen"], pair["rejected"]) for pair in pairs] == [([5, 6], [8]), ([9], [10, 11])]
    assert [pair["length"] for pair in pairs] == [2, 2]
    assert pairs.truncated == 2


def test_the_digest_depends_on_texts_labels_and_order(llama):
    rows = [LabelledText("w1", (1.0,)), LabelledText("w2", (0.0,))]
    others = [rows[::-1], [rows[0], LabelledText("w2", (1.0,))], rows[:1]]
    digests = [TokenizedTexts(some, llama, 8).digest for some in (rows, *others)]
    assert len(set(digests)) == 4
    assert TokenizedTexts(list(rows), llama, 8).digest == digests[0]


def test_texts_without_a_token_are_refused(llama):
    with pytest.raises(errors.InvalidData, match="at least one of each"):
        TokenizedTexts([LabelledText(" ", (1.0,))], llama, 8)
    assert encode_all(llama, []) == []
