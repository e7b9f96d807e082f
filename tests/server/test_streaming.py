"""Server-sent events: their texts joined are the text that is not streamed."""

import json
import math

import pytest

from tiny_chat import EOS
from trimtab.server.http import event_text

PROMPT = "w1 w2 w3"
MESSAGES = [{"role": "user", "content": "w1 w2"}]


def events(http, path, **fields):
    """The events of a stream, without the closing [DONE]."""
    with http.stream("POST", path, json={"stream": True, **fields}) as done:
        assert done.status_code == 200
        assert done.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in done.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_an_event_is_one_line_for_every_client():
    text = "a\u2028b\u2029c\x85d\n"
    line = event_text({"text": text})
    assert len(line.splitlines()) == 2  # the event, and the empty line behind it
    assert json.loads(line.removeprefix("data: ")) == {"text": text}


@pytest.mark.parametrize("stop", [None, "w9", ["w4 w4", "w3"]])
def test_a_stream_gives_every_samples_text(http, stop):
    fields = {"prompt": [PROMPT, "w9"], "n": 2, "seed": 4, "max_tokens": 12, "stop": stop}
    whole = http.post("/v1/completions", json=fields).json()
    texts, reasons = [""] * 4, [None] * 4
    for event in events(http, "/v1/completions", **fields):
        for choice in event["choices"]:
            assert reasons[choice["index"]] is None
            texts[choice["index"]] += choice["text"]
            reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert reasons == [choice["finish_reason"] for choice in whole["choices"]]


def test_a_chat_streams_deltas(http, chatting):
    found = events(http, "/v1/chat/completions", messages=MESSAGES, seed=2, max_tokens=8)
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(choice["delta"].get("content", "") for event in found for choice in event["choices"])
    assert text == chatting.chat(MESSAGES, seed=2, max_new_tokens=8).text
    assert "usage" not in found[0]


def test_usage_comes_last_if_it_is_asked_for(http):
    *others, last = events(http, "/v1/completions", prompt=PROMPT, seed=1, stream_options={"include_usage": True})
    assert all(event["usage"] is None for event in others)
    assert last["choices"] == []
    assert last["usage"] == http.post("/v1/completions", json={"prompt": PROMPT, "seed": 1}).json()["usage"]


def test_the_first_event_says_what_steers(http):
    first, *_ = events(http, "/v1/completions", prompt=PROMPT, seed=1, steer={"mood": -3})
    (term,) = first["trimtab"]["steer"]
    assert (term["reward"], term["direction"], term["beta"]) == ("mood", "away", 3.0)
    assert first["trimtab"]["seed"] == 1


def test_a_trace_comes_with_what_repeats_its_choices(http, chatting):
    """The prompt's tokens, the tokens that end a text, and one key per sample, which draws the sample's noise."""
    asked = {"prompt": PROMPT, "n": 2, "seed": 4, "max_tokens": 6, "trimtab": {"trace": True}}
    first, *others = events(http, "/v1/completions", **asked)
    about, codec = first["trimtab"], chatting.engine.codec
    assert about["prompt_token_ids"] == [codec.encode_prompt(PROMPT)]
    assert about["eos_token_ids"] == [EOS]
    assert len(set(about["noise_keys"])) == 2
    tokens = [[], []]
    for choice in (choice for event in others for choice in event["choices"]):
        tokens[choice["index"]] += choice["trimtab"]["trace"]
    for key, written in zip(about["noise_keys"], tokens, strict=True):
        assert [token["token_id"] for token in written] == [
            max(token["candidates"], key=lambda each: each["base_logprob"] + noise(int(key), step, each["token_id"]))[
                "token_id"
            ]
            for step, token in enumerate(written)
        ]


def noise(key, step, token):
    """Gumbel noise from SplitMix64, in whole numbers of Python."""
    bits = splitmix((splitmix((key + (step + 1) * 0x9E3779B97F4A7C15) % 2**64) + token) % 2**64)
    return -math.log(-math.log(((bits >> 11) + 0.5) / 2**53))


def splitmix(state):
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)
