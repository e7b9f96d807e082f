"""trimtab's own server in front of vLLM."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import trimtab
from running_server import running
from trimtab.data.json_text import parse_json
from trimtab.server.app import create_app
from trimtab.server.reward_shelf import RegisteredReward

PROMPTS = ["The new neighbours are", "My boss said that", "I never liked", "After the storm"]


@pytest.fixture(scope="module")
def registered(smollm2):
    names = {"sentiment": "sentiment", "toxicity": "toxicity-lora", "rad": "sentiment-rad"}
    return [RegisteredReward.of(name, trimtab.reward(source, smollm2)) for name, source in names.items()]


@pytest.fixture(scope="module")
def post(vllm_lm, registered):
    with running(create_app(vllm_lm, "smollm2", registered)) as url, httpx.Client(timeout=300) as client:
        yield lambda **body: client.post(f"{url}/v1/completions", json={"model": "smollm2", **body})


def test_texts_of_clients_at_once_are_the_librarys(post, smollm2, registered):
    betas = [{}, {"sentiment": 20}, {"toxicity": -30}, {"sentiment": -9, "toxicity": -9}]
    rewards = {each.name: each.reward for each in registered}
    steers = [
        sum((rewards[n].toward(b) if b > 0 else rewards[n].away(-b) for n, b in beta.items()), 0) or None
        for beta in betas
    ]
    bodies = [
        {"prompt": prompt, "steer": beta, "seed": seed, "max_tokens": 12}
        for seed, (prompt, beta) in enumerate(zip(PROMPTS, betas, strict=True))
    ]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda body: post(**body).json()["choices"][0]["text"], bodies))
    params = [trimtab.SamplingParams(seed=seed, max_new_tokens=12) for seed in range(4)]
    assert found == [each.text for each in smollm2.generate(PROMPTS, steers, params)]


def test_a_stream_has_the_same_text(post):
    body = {"prompt": PROMPTS[0], "steer": {"sentiment": 20}, "seed": 3, "max_tokens": 8}
    whole = post(**body).json()["choices"][0]["text"]
    lines = [line for line in post(**body, stream=True).text.splitlines() if line.startswith("data: {")]
    pieces = [parse_json(line.removeprefix("data: ")) for line in lines]
    assert "".join(piece["choices"][0]["text"] for piece in pieces if piece["choices"]) == whole


@pytest.mark.parametrize("steer", [{"kindness": 3}, {"rad": 20}])
def test_a_steer_that_cannot_be_is_a_400(post, steer):
    answer = post(prompt=PROMPTS[0], steer=steer, max_tokens=4)
    assert answer.status_code == 400
    assert "error" in answer.json()
