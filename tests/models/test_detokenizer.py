import pytest

from fake_engine import CharacterCodec
from tiny_spaces import space_dropping_tokenizer
from trimtab.models.codec import TokenizerCodec
from trimtab.models.detokenizer import Detokenizer, StreamedText, cut_at_stop, visible_ids


def test_text_that_may_start_a_stop_string_is_held_back():
    text = StreamedText(["END"])
    assert [text.push(piece, last) for piece, last in [("ab", False), ("cE", False), ("Nx", False), ("E", True)]] == [
        "",
        "ab",
        "cE",
        "NxE",
    ]


def test_a_text_is_cut_at_the_first_of_several_stop_strings():
    assert cut_at_stop("one two three", ["three", " two"]) == "one"
    assert cut_at_stop("one", ["", "x"]) == "one"


@pytest.mark.slow
def test_a_character_of_several_tokens_is_streamed_whole(smollm2):
    text = "naïve 🙂 日本語 done"
    ids = smollm2.tokenizer(text)["input_ids"]
    detokenizer = Detokenizer(smollm2.engine.codec)
    pieces = [detokenizer.push(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "" in pieces


def test_the_first_space_of_a_continuation_is_kept_where_a_tokenizer_drops_that_of_a_text():
    codec = TokenizerCodec(space_dropping_tokenizer(), "tiny", 64, {1})
    prompt, ids = codec.encode_text("the cat"), codec.encode_text("sat the cat")
    assert codec.decode(prompt) == "the cat"
    assert codec.decode(prompt) + codec.decode_behind(ids) == codec.decode([*prompt, *ids]) == "the cat sat the cat"
    written, opened = Detokenizer(codec), Detokenizer(codec, opens=True)
    assert "".join(map(written.push, ids)) == " sat the cat"
    assert "".join(map(opened.push, prompt)) == "the cat"
    assert visible_ids(codec, ids, [" cat"]) == ids[:2]
    assert visible_ids(codec, ids, [" sat"]) == []


class HalfCharacters(CharacterCodec):
    """A codec in which token 1 is half a character, as bytes of a tokenizer are."""

    eos_token_ids = frozenset({0})

    def decode(self, ids):
        return bytes(0xC3 if token == 1 else 0xA9 for token in ids if token).decode("utf-8", "replace")


@pytest.mark.parametrize("ids", [[1, 2, 1], [1, 2, 1, 0], [1], [1, 2]])
def test_a_text_that_ends_within_a_character_is_streamed_whole(ids):
    codec, detokenizer = HalfCharacters(), Detokenizer(HalfCharacters())
    pieces = [detokenizer.push(token, last=place == len(ids)) for place, token in enumerate(ids, start=1)]
    assert "".join(pieces) == codec.decode(ids)
