import pytest

from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.ending import RowEnding
from trimtab.testing import WordCodec

WORDS = WordCodec(["one", "two", "three", "four."])


def ending(limit=9, stop=(), until=""):
    return RowEnding(WORDS, Request([1], SamplingParams(stop=stop, seed=0), until=until), limit)


@pytest.mark.parametrize(
    ("options", "tokens", "taken", "reason"),
    [
        ({}, [1, 2], 2, None),
        ({}, [1, 0, 2], 2, "eos"),
        ({"limit": 2}, [1, 2, 3], 2, "length"),
        ({"stop": ("two",)}, [1, 2, 3], 2, "stop"),
        ({"stop": ("e two",)}, [1, 2, 3], 2, "stop"),
        ({"stop": ("",)}, [1, 2, 3], 3, None),
        ({"until": ".!"}, [1, 4, 3], 2, "until"),
        ({"until": ".", "stop": ("four",)}, [4], 1, "stop"),
        ({"limit": 1}, [0], 1, "eos"),
    ],
)
def test_a_row_ends_at_the_first_token_that_ends_it(options, tokens, taken, reason):
    row = ending(**options)
    assert row.take(tokens) == taken
    assert row.reason == reason


def test_a_stop_string_is_found_across_several_takes():
    row = ending(stop=("one two three",))
    assert [row.take([token]) for token in (1, 2, 3)] == [1, 1, 1]
    assert row.reason == "stop"


def test_the_room_falls_with_each_token():
    row = ending(limit=3)
    row.take([1, 2])
    assert row.room == 1


@pytest.mark.parametrize(
    ("options", "reason"), [({"temperature": 0}, "eos"), ({"temperature": 0, "max_new_tokens": 2}, "length")]
)
def test_the_end_token_is_a_candidate_and_ends_the_text(llama, lm, monkeypatch, options, reason):
    plain = lm.generate("w1 w2", temperature=0, max_new_tokens=6)
    end = plain.token_ids[2]
    monkeypatch.setattr(llama.codec, "eos_token_ids", frozenset([end]))
    ended = lm.generate("w1 w2", **{"max_new_tokens": 6, **options})
    assert ended.finish_reason == reason
    assert ended.token_ids == plain.token_ids[: min(plain.token_ids.index(end) + 1, options.get("max_new_tokens", 6))]
