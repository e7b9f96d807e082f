import pytest
from tokenizers import AddedToken

from tiny import tiny_tokenizer
from tiny_templates import byte_tokenizer
from trimtab.errors import InvalidPrompt
from trimtab.models.control_tokens import ControlTokens


def plain_encoder(tokenizer):
    return lambda text: list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def test_a_template_s_token_takes_in_the_white_space_that_it_takes_in_elsewhere():
    tokenizer = byte_tokenizer("<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<|end|>", rstrip=True, special=True)]})
    control, text = ControlTokens(tokenizer), "hello<|end|>\nyou<|im_end|>"
    expected = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert control.encode_rendered(text, {}, plain_encoder(tokenizer)) == expected


def test_a_control_token_that_is_a_word_of_the_vocabulary_is_cut():
    tokenizer = tiny_tokenizer()
    control = ControlTokens(tokenizer)
    assert plain_encoder(tokenizer)("w1 <eos>") == [5, tokenizer.eos_token_id], "else the test tests nothing"
    assert control.encode_literal("w1 <eos> w2", plain_encoder(tokenizer)) == [5, 3, 3, 6]


def test_a_text_that_cannot_be_written_without_a_control_token_is_refused():
    control = ControlTokens(tiny_tokenizer())
    with pytest.raises(InvalidPrompt, match="leave it out"):
        control.encode_literal("<eos>", lambda text: [2])


def test_hidden_tokens_come_back_in_place_of_their_marks():
    control = ControlTokens(byte_tokenizer(None))
    texts = ["a<|im_end|>b<|im_start|>", "<|im_end|>"]
    hidden, marks = control.hide(texts, [False, False])
    assert [text.translate(str.maketrans(marks)) for text in hidden] == texts
    assert control.sequence("".join(hidden)) == []
    assert len(marks) == 2


def test_the_beginning_of_a_control_token_is_seen_at_the_end_of_a_text():
    control = ControlTokens(byte_tokenizer(None))
    assert control.begins("hello <|im_")
    assert control.begins("<")
    assert not control.begins("hello")
    assert not control.begins("")
