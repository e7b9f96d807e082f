"""Tokenized texts and pairs."""

import pytest

from tiny import tiny_lm, tiny_reward
from tiny_chat import chat_lm
from trimtab import errors
from trimtab.data.tables import LabelledText, TextPair
from trimtab.training.distil import train_from_teacher
from trimtab.training.examples import TokenizedPairs, TokenizedTexts, encode_all
from trimtab.training.labels import train_from_labels
from trimtab.training.pairs import train_from_pairs
from trimtab.training.recipe import Recipe


def test_long_texts_lose_their_end_and_are_counted(llama):
    texts = TokenizedTexts([LabelledText("w1 w2 w3", (1.0,)), LabelledText("w4", (0.0,))], llama, max_tokens=2)
    assert [example["input_ids"] for example in texts] == [[5, 6], [8]]
    assert [example["labels"] for example in texts] == [(1.0,), (0.0,)]
    assert [example["length"] for example in texts] == [2, 1]
    assert texts.truncated == 1


def test_an_answer_stands_behind_its_message_in_the_chat_template():
    lm = chat_lm()
    rows = [LabelledText("w1 w2 w3"), LabelledText("w1 w2 w3", message="w9")]
    plain, answer = TokenizedTexts(rows, lm, max_tokens=2)
    context = lm.codec.encode_prompt([{"role": "user", "content": "w9"}])
    assert plain == {"input_ids": [5, 6], "labels": (), "length": 2}
    assert answer == {"input_ids": [*context, 5, 6], "labels": (), "length": len(context) + 2, "context": len(context)}
    with pytest.raises(errors.InvalidSetting, match="chat template"):
        TokenizedTexts(rows, tiny_lm("llama"), max_tokens=2)


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


def test_a_text_that_does_not_fit_the_context_is_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="a text of 70 tokens, expected fewer than 64"):
        TokenizedTexts([LabelledText("w1 " * 90, (1.0,))], llama, max_tokens=70)
    assert len(TokenizedTexts([LabelledText("w1 " * 63, (1.0,))], llama, max_tokens=128)) == 1


def test_a_language_model_is_refused_where_a_frozen_model_is_expected(lm):
    rows, others = [LabelledText("w1", (1.0,))], [TextPair("w1", "w2")]
    with pytest.raises(errors.WrongType, match=r"expected a FrozenLM, write lm\.base"):
        train_from_labels(lm, ["good"], rows, rows, Recipe())
    with pytest.raises(errors.WrongType, match=r"write lm\.base"):
        train_from_pairs(lm, "good", others, others, Recipe())
    with pytest.raises(errors.WrongType, match=r"write lm\.base"):
        train_from_teacher(lm, tiny_reward(lm.base, "v"), rows, rows, Recipe())
    with pytest.raises(errors.WrongType, match="got base='smollm2', expected a FrozenLM"):
        train_from_labels("smollm2", ["good"], rows, rows, Recipe())
    with pytest.raises(errors.WrongType, match="got recipe=3"):
        train_from_labels(lm.base, ["good"], rows, rows, 3)
