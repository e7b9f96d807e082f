"""`echo`: the prompt in front of the text, with its log-probabilities."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from trimtab.engines.sampling_params import SamplingParams
from trimtab.server.api_errors import APIError
from trimtab.server.echo import echoed

PROMPT = "w1 w2 w3"


def complete(http, **fields):
    done = http.post("/v1/completions", json={"prompt": PROMPT, "seed": 3, "max_tokens": 4, "echo": True, **fields})
    assert done.status_code == 200, done.text
    return done.json()


def test_the_prompt_stands_in_front_of_every_sample(http, chatting):
    expected = chatting.generate(PROMPT, seed=3, n=2, max_new_tokens=4)
    found = complete(http, n=2)["choices"]
    assert [choice["text"] for choice in found] == [PROMPT + sample.text for sample in expected.samples]


def test_token_ids_are_echoed_as_text(http, chatting):
    ids = chatting.engine.codec.encode_prompt(PROMPT)
    assert complete(http, prompt=ids)["choices"][0]["text"].startswith(chatting.engine.codec.decode(ids))


@pytest.mark.parametrize("beta", [None, -6.0])
def test_every_token_but_the_first_has_the_log_probabilities_of_the_library(http, chatting, shelf, beta):
    steer = {} if beta is None else {"steer": {"mood": beta}}
    (choice,) = complete(http, logprobs=2, **steer)["choices"]
    found = choice["logprobs"]
    written = chatting.generate(PROMPT, shelf[0].reward.away(6) if beta else None, seed=3, max_new_tokens=4)
    assert len(found["tokens"]) == 3 + len(written.token_ids)
    assert "".join(found["tokens"]) == choice["text"]
    assert found["text_offset"] == [sum(map(len, found["tokens"][:place])) for place in range(len(found["tokens"]))]
    assert (found["token_logprobs"][0], found["top_logprobs"][0]) == (None, None)
    ids = chatting.engine.codec.encode_prompt(PROMPT)
    for place in (1, 2):
        steered = shelf[0].reward.away(6) if beta else None
        (scored,) = chatting.engine.score([ids[:place]], [[[ids[place]]]], steered, 20)
        assert found["token_logprobs"][place] == pytest.approx(scored.logprobs.item(), abs=1e-4)
        assert len(found["top_logprobs"][place]) == 2
    logprobs = [token.logprob if beta else token.base_logprob for token in (t.choice for t in written.trace)]
    assert found["token_logprobs"][3:] == pytest.approx(logprobs, abs=1e-4)


def test_a_trace_has_the_prompts_tokens_too(http):
    (choice,) = complete(http, trimtab={"trace": True}, steer={"mood": 3})["choices"]
    assert len(choice["trimtab"]["trace"]) >= 3
    assert choice["trimtab"]["trace"][0]["candidates"]


def test_a_stream_starts_with_the_prompt(http):
    body = {"prompt": ["w1 w2", "w3"], "seed": 3, "max_tokens": 4, "echo": True, "logprobs": 1}
    whole = http.post("/v1/completions", json=body).json()["choices"]
    texts, logprobs, offsets = ["", ""], [[], []], [[], []]
    with http.stream("POST", "/v1/completions", json={**body, "stream": True}) as done:
        for line in done.iter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                texts[choice["index"]] += choice["text"]
                if choice["logprobs"]:
                    logprobs[choice["index"]] += choice["logprobs"]["token_logprobs"]
                    offsets[choice["index"]] += choice["logprobs"]["text_offset"]
    assert texts == [choice["text"] for choice in whole]
    assert logprobs == [choice["logprobs"]["token_logprobs"] for choice in whole]
    assert offsets == [choice["logprobs"]["text_offset"] for choice in whole]


def test_prompts_of_a_client_that_left_are_not_read(chatting, monkeypatch):
    """Those of twenty prompts that are left when it goes."""
    read = []

    def remember(self, texts, *given):
        read.append(len(texts))
        return [()] * len(texts)

    monkeypatch.setattr(type(chatting.engine), "read", remember)
    requests = [SimpleNamespace(prefix=[5, 6])] * 20
    call = SimpleNamespace(
        prompts=["w1 w2"] * 20,
        requests=requests,
        trace=True,
        logprobs=None,
        steer=None,
        params=SamplingParams(),
        kept=1,
    )

    async def first_step():
        return await anext(echoed(call, chatting.engine, None, lambda: len(read) == 2))

    with pytest.raises(APIError) as raised:
        asyncio.run(first_step())
    assert raised.value.status == 499
    assert read == [8, 8]


def test_ranked_drafts_are_echoed_too(http):
    found = complete(http, best_of=4, n=2, best_of_reward="mood")["choices"]
    assert [choice["text"].startswith(PROMPT) for choice in found] == [True, True]
    assert all("score" in choice["trimtab"] for choice in found)


@pytest.mark.parametrize("read", [{"logprobs": 1}, {"trimtab": {"trace": True}}], ids=str)
@pytest.mark.parametrize(
    ("fields", "param"),
    [({"repetition_penalty": 1.5}, "repetition_penalty"), ({"top_p": 0.5, "steer": {"mood": -6}}, "top_p")],
    ids=str,
)
def test_a_prompt_is_not_read_where_its_figures_would_lack_a_setting(http, read, fields, param):
    done = http.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 4, "echo": True, **read, **fields})
    assert done.status_code == 400, done.text
    assert done.json()["error"]["param"] == param
    complete(http, **fields)  # nothing is read
    complete(http, **read, **fields, echo=False)
    complete(http, **read, **{**fields, param: 1})


def test_the_top_p_of_an_unsteered_text_changes_its_trace_and_not_its_log_probabilities(http):
    complete(http, logprobs=1, top_p=0.5)
    traced = {"prompt": PROMPT, "echo": True, "top_p": 0.5, "trimtab": {"trace": True}}
    assert http.post("/v1/completions", json=traced).status_code == 400
