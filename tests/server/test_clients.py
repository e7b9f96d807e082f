"""Clients that people use already, unchanged, against the running server."""

import asyncio
import importlib.util
import json
import subprocess

import httpx
import openai
import pytest

MESSAGES = [{"role": "user", "content": "w1 w2"}]
SETTINGS = {"seed": 2, "max_tokens": 8}


@pytest.fixture(scope="module")
def base(address):
    """What OpenAI clients call the base URL."""
    return f"{address}/v1"


@pytest.fixture(scope="module")
def expected(chatting):
    """The library's answer."""
    return chatting.chat(MESSAGES, seed=2, max_new_tokens=8).text


@pytest.fixture(scope="module")
def steered(chatting, shelf):
    """The library's answer, steered away from a reward."""
    return chatting.chat(MESSAGES, shelf[0].reward.away(6), seed=2, max_new_tokens=8).text


def needs(*packages):
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} is not installed: make test-clients")


@pytest.fixture(scope="module")
def client(base):
    with openai.OpenAI(base_url=base, api_key="none", max_retries=0) as client:
        yield client


def test_openai(client, expected, steered):
    found = client.chat.completions.create(model="tiny", messages=MESSAGES, **SETTINGS)
    assert found.choices[0].message.content == expected
    assert found.usage.completion_tokens > 0
    found = client.chat.completions.create(
        model="tiny", messages=MESSAGES, **SETTINGS, extra_body={"steer": {"mood": -6}}
    )
    assert found.choices[0].message.content == steered
    assert found.trimtab["steer"][0]["direction"] == "away"
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "trimtab"
    with pytest.raises(openai.NotFoundError, match="got the model 'gpt-4', expected tiny"):
        client.models.retrieve("gpt-4")


def test_openai_streams(client, expected):
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model="tiny", messages=MESSAGES, **SETTINGS, stream=True, stream_options=options
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == expected
    assert chunks[-1].usage.completion_tokens > 0
    texts = client.completions.create(model="tiny", prompt="w1", **SETTINGS, stream=True, logprobs=2)
    assert "".join(chunk.choices[0].text for chunk in texts)


def test_openai_async(base, expected):
    async def ask():
        async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0) as client:
            asked = [client.chat.completions.create(model="tiny", messages=MESSAGES, **SETTINGS) for _ in range(3)]
            found = [each.choices[0].message.content for each in await asyncio.gather(*asked)]
            stream = await client.chat.completions.create(model="tiny", messages=MESSAGES, **SETTINGS, stream=True)
            return [*found, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])]

    assert asyncio.run(ask()) == [expected] * 4


def test_openai_raises_its_own_errors(client):
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="tiny", prompt="w1", extra_body={"steer": {"humour": 3}})
    assert raised.value.param == "steer.humour"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-4", prompt="w1")


def test_openai_continues_a_conversation_with_an_answer_that_it_got(client):
    first = client.chat.completions.create(model="tiny", messages=MESSAGES, **SETTINGS).choices[0].message
    turns = [*MESSAGES, first, {"role": "user", "content": "w3"}]
    assert client.chat.completions.create(model="tiny", messages=turns, **SETTINGS).choices


def test_curl(base, steered):
    body = json.dumps({"messages": MESSAGES, **SETTINGS, "model": "tiny+mood=-6"})
    command = ["curl", "-sS", f"{base}/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == steered


@needs("lm_eval", "tenacity")
def test_lm_eval_local_completions(base, chatting):
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    client = LocalCompletionsAPI(
        model="tiny", base_url=f"{base}/completions", tokenizer_backend=None, tokenized_requests=False, batch_size=1
    )
    asked = [Instance("generate_until", {}, ("w1 w2", {"until": ["w9"], "max_gen_toks": 8}), 0)]
    (found,) = client.generate_until(asked, disable_tqdm=True)
    assert found == chatting.generate("w1 w2", temperature=0, max_new_tokens=8, stop=["w9"], seed=1234).text


@needs("lm_eval", "tenacity")
@pytest.mark.parametrize("beta", [0, 6])
def test_lm_eval_compares_likelihoods(base, chatting, shelf, beta, tmp_path):
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    chatting.base.tokenizer.save_pretrained(tmp_path)
    name = f"tiny+mood={beta}" if beta else "tiny"
    client = LocalCompletionsAPI(
        model=name, base_url=f"{base}/completions", tokenizer=str(tmp_path), tokenized_requests=True, batch_size=2
    )
    codec, steer = chatting.engine.codec, shelf[0].reward.toward(beta) if beta else None
    pairs = [("w1 w2", " w3"), ("w4", " w5 w6 w7"), ("w9 w8", " w1 w1")]
    ids = [(codec.encode_text(context), codec.encode_text(answer)) for context, answer in pairs]
    asked = [(pair, context, answer) for pair, (context, answer) in zip(pairs, ids, strict=True)]
    found = client._loglikelihood_tokens(asked, disable_tqdm=True)
    scored = [chatting.engine.score([context], [[answer]], steer, 20)[0] for context, answer in ids]
    assert [logprob for logprob, _ in found] == pytest.approx([each.logprobs.item() for each in scored], abs=1e-4)
    assert [greedy for _, greedy in found] == [bool(each.greedy) for each in scored]


@pytest.mark.slow
@needs("litellm")
@pytest.mark.filterwarnings("ignore")
def test_litellm(base, expected, steered, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    found = litellm.completion("openai/tiny", MESSAGES, api_base=base, api_key="none", **SETTINGS)
    assert found.choices[0].message.content == expected
    found = litellm.completion("openai/tiny+mood=-6", MESSAGES, api_base=base, api_key="none", **SETTINGS)
    assert found.choices[0].message.content == steered
    stream = litellm.completion("openai/tiny", MESSAGES, api_base=base, api_key="none", **SETTINGS, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == expected


@pytest.mark.slow
@needs("langchain_openai")
@pytest.mark.filterwarnings("ignore")
def test_langchain_openai(base, expected, steered):
    from langchain_openai import ChatOpenAI

    plain = ChatOpenAI(model="tiny", base_url=base, api_key="none", **SETTINGS)
    assert plain.invoke("w1 w2").content == expected
    assert "".join(chunk.content for chunk in plain.stream("w1 w2")) == expected
    calm = ChatOpenAI(model="tiny", base_url=base, api_key="none", **SETTINGS, extra_body={"steer": {"mood": -6}})
    assert calm.invoke("w1 w2").content == steered


def test_health_is_what_load_balancers_ask(address):
    assert httpx.get(f"{address}/health").status_code == 200
