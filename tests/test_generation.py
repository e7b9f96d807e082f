import math

import pytest

from fake_engine import CharacterCodec
from tiny import tiny_reward
from trimtab.engines.base import Chunk, Continuation, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.generation import Detokenizer, Generation, StreamedText, cut_at_stop, stream_tokens


def streamed(lm, prompt, steer=None, **options):
    return list(lm.stream(prompt, steer, **options))


@pytest.mark.parametrize("seed", range(4))
def test_streamed_tokens_joined_are_the_generated_text(lm, seed):
    steer = tiny_reward(lm.base, "v").toward(3.0)
    tokens = streamed(lm, "w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    whole = lm.generate("w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    assert "".join(token.text for token in tokens) == whole.text
    assert [token.token_id for token in tokens] == whole.token_ids
    assert [token.finish_reason for token in tokens] == [None] * (len(tokens) - 1) + [whole.finish_reason]


def test_a_stop_string_ends_the_text_and_is_not_part_of_it(lm):
    plain = lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5)
    stop = plain.text[len(plain.text) // 2 :][:4]
    for text in (
        (stopped := lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])).text,
        "".join(token.text for token in streamed(lm, "w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])),
    ):
        assert text == plain.text[: plain.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert len(stopped.token_ids) < len(plain.token_ids)


def test_one_stop_string_equals_a_list_of_it(lm):
    options = {"temperature": 0, "max_new_tokens": 12, "top_k": 5}
    plain = lm.generate("w1 w2", **options)
    stop = plain.text[len(plain.text) // 2 :][:4]
    assert lm.generate("w1 w2", stop=stop, **options).text == lm.generate("w1 w2", stop=[stop], **options).text != ""


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


def test_the_trace_has_the_candidates_of_each_token_and_their_rewards(lm):
    reward = tiny_reward(lm.base, "q")
    written = lm.generate("w1 w2", reward.toward(3.0), max_new_tokens=4, top_k=5, seed=1)
    assert len(written.trace) == len(written.token_ids)
    for token in written.trace:
        assert len(token.candidates) == 5
        (chosen,) = [candidate for candidate in token.candidates if candidate.chosen]
        assert chosen.token_id == token.token_id
        assert chosen.rewards == token.rewards
        assert sum(math.exp(candidate.logprob) for candidate in token.candidates) == pytest.approx(1, abs=1e-4)
        assert set(token.rewards) == {"tiny-q:kind", "tiny-q:calm"}
    mean = sum(token.rewards["tiny-q:kind"] for token in written.trace) / len(written.trace)
    assert written.mean_rewards["tiny-q:kind"] == pytest.approx(mean)
    assert len(str(written.trace).split("\n")) == len(written.trace)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_a_row_shows_only_the_rewards_that_steer_it(lm, trunk):
    reward = tiny_reward(lm.base, "q", trunk, bos_token_id=None)
    steered, plain = lm.generate(["w1", "w2"], [reward.toward(1.0), None], max_new_tokens=2, seed=0)
    assert steered.trace[0].rewards
    assert not plain.trace[0].rewards


def test_a_continuation_without_tokens_has_an_empty_trace(llama):
    """A search that is interrupted before its first draft ends with one."""
    empty = Generation(llama.codec, "w1", [Continuation((), "interrupted")])
    assert (empty.text, empty.token_ids) == ("", [])
    assert len(empty.trace) == 0
    assert empty.mean_rewards == {}


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 3), (5,), (4, 1)])
def test_chunks_of_any_size_stream_the_same_tokens(lm, sizes):
    (continuation,) = lm.engine.sample([request_of("w1 w2", max_new_tokens=5)])[0]
    choices = iter(continuation.choices)
    parts = [tuple(next(choices) for _ in range(size)) for size in sizes]
    reasons = [None] * (len(parts) - 1) + [continuation.finish_reason]
    chunks = iter([Chunk(0, 0, part, reason) for part, reason in zip(parts, reasons, strict=True)])
    tokens = list(stream_tokens(lm.engine.codec, chunks, ()))
    assert "".join(token.text for token in tokens) == lm.engine.codec.decode(continuation.token_ids)
    assert [token.finish_reason for token in tokens] == [None] * 4 + ["length"]


def request_of(prompt, **params):
    return Request([4 + int(word[1:]) for word in prompt.split()], SamplingParams(seed=0, **params))


@pytest.mark.slow
def test_a_character_of_several_tokens_is_streamed_whole(smollm2):
    text = "naïve 🙂 日本語 done"
    ids = smollm2.tokenizer(text)["input_ids"]
    detokenizer = Detokenizer(smollm2.engine.codec)
    pieces = [detokenizer.push(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "" in pieces


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
