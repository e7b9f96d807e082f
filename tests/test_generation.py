import pytest

from tiny import tiny_reward
from trimtab.generation import Detokenizer, StreamedText, cut_at_stop
from trimtab.lm import LanguageModel


@pytest.fixture(scope="module")
def lm(llama):
    return LanguageModel(llama)


def streamed(lm, prompt, steer=None, **options):
    return list(lm.stream(prompt, steer, **options))


@pytest.mark.parametrize("seed", range(4))
def test_stream_writes_what_generate_writes(lm, seed):
    steer = tiny_reward(lm.frozen, "v").toward(3.0)
    tokens = streamed(lm, "w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    whole = lm.generate("w1 w2", steer, max_new_tokens=9, seed=seed, top_k=6)
    assert "".join(token.text for token in tokens) == whole.text
    assert [token.token_id for token in tokens] == whole.token_ids
    assert [token.finish_reason for token in tokens] == [None] * (len(tokens) - 1) + [whole.finish_reason]


def test_a_stop_string_ends_the_text_and_is_left_out(lm):
    plain = lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5)
    stop = plain.text[len(plain.text) // 2 :][:4]
    for text in (
        (stopped := lm.generate("w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])).text,
        "".join(token.text for token in streamed(lm, "w1 w2", temperature=0, max_new_tokens=12, top_k=5, stop=[stop])),
    ):
        assert text == plain.text[: plain.text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert len(stopped.token_ids) < len(plain.token_ids)


def test_one_stop_string_needs_no_list(lm):
    options = {"temperature": 0, "max_new_tokens": 12, "top_k": 5}
    plain = lm.generate("w1 w2", **options)
    stop = plain.text[len(plain.text) // 2 :][:4]
    assert lm.generate("w1 w2", stop=stop, **options).text == lm.generate("w1 w2", stop=[stop], **options).text != ""


def test_what_could_start_a_stop_string_is_held_back():
    text = StreamedText(["END"])
    assert [text.push(piece, last) for piece, last in [("ab", False), ("cE", False), ("Nx", False), ("E", True)]] == [
        "",
        "ab",
        "cE",
        "NxE",
    ]


def test_cut_at_the_first_of_several_stops():
    assert cut_at_stop("one two three", ["three", " two"]) == "one"
    assert cut_at_stop("one", ["", "x"]) == "one"


def test_the_shape_of_the_answer_follows_the_question(lm):
    options = {"max_new_tokens": 2, "seed": 0}
    assert lm.generate("w1", **options).prompt == "w1"
    assert [g.prompt for g in lm.generate(["w1", "w2"], **options)] == ["w1", "w2"]
    assert len(lm.generate("w1", n=3, **options)) == 3
    assert [len(row) for row in lm.generate(["w1", "w2"], n=3, **options)] == [3, 3]


def test_the_trace_shows_what_each_token_was_chosen_from(lm):
    reward = tiny_reward(lm.frozen, "q")
    written = lm.generate("w1 w2", reward.toward(3.0), max_new_tokens=4, top_k=5, seed=1)
    assert len(written.trace) == len(written.token_ids)
    for token in written.trace:
        assert len(token.candidates) == 5
        (chosen,) = [candidate for candidate in token.candidates if candidate.chosen]
        assert chosen.token_id == token.token_id
        assert chosen.rewards == token.rewards
        assert sum(2.718281828**candidate.logprob for candidate in token.candidates) == pytest.approx(1, abs=1e-4)
        assert set(token.rewards) == {"tiny-q:kind", "tiny-q:calm"}
    mean = sum(token.rewards["tiny-q:kind"] for token in written.trace) / len(written.trace)
    assert written.mean_rewards["tiny-q:kind"] == pytest.approx(mean)
    assert len(str(written.trace).split("\n")) == len(written.trace)


@pytest.mark.parametrize("trunk", ["lora", "frozen"])
def test_rows_show_only_the_rewards_that_steer_them(lm, trunk):
    reward = tiny_reward(lm.frozen, "q", trunk, bos_token_id=None)
    steered, plain = lm.generate(["w1", "w2"], [reward.toward(1.0), None], max_new_tokens=2, seed=0)
    assert steered.trace[0].rewards
    assert not plain.trace[0].rewards


@pytest.mark.slow
def test_characters_of_several_tokens_come_whole(smollm2):
    text = "naïve 🙂 日本語 done"
    ids = smollm2.frozen.tokenizer(text)["input_ids"]
    detokenizer = Detokenizer(smollm2.frozen)
    pieces = [detokenizer.push(token) for token in ids]
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert "" in pieces
