"""The documented command: vLLM's own server, with trimtab in it."""

import os
import socket
import subprocess
import sys
import time

import httpx
import pytest

import trimtab
from trimtab.models.loading import find_model

STARTUP_SECONDS = 900
PROMPT = "The new neighbours are"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a server in processes of its own, as the page about vLLM starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(find_model("smollm2", weights=True)), "--served-model-name", "smollm2"),
        *("--dtype", "float32", "--max-model-len", "512", "--enforce-eager", "--no-async-scheduling"),
        *("--hf-overrides", '{"architectures": ["TrimtabLlamaForCausalLM"]}'),
        *("--logits-processors", "trimtab.engines.vllm.processor:SteeringProcessor"),
    ]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    known = {**os.environ, "TRIMTAB_REWARDS": "toxicity,sentiment,slow=sentiment-lora"}
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, env=known) as server:
        try:
            url, until = f"http://127.0.0.1:{port}", time.monotonic() + STARTUP_SECONDS
            while not answers(url):
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.5)
            yield url
        finally:
            server.terminate()


def answers(url):
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def post(address):
    def send(given=None, **body):
        more = {} if given is None else {"vllm_xargs": {"trimtab": given}}
        known = {"model": "smollm2", "prompt": PROMPT, "max_tokens": 10, **body, **more}
        return httpx.post(f"{address}/v1/completions", json=known, timeout=600)

    return send


@pytest.mark.parametrize(
    ("given", "name", "beta"),
    [("sentiment=20", "sentiment", 20.0), ("toxicity=-30", "toxicity", -30.0), ("slow=20", "sentiment-lora", 20.0)],
)
def test_greedy_texts_are_the_librarys(post, smollm2, given, name, beta):
    reward = trimtab.reward(name, smollm2)
    steer = reward.toward(beta) if beta > 0 else reward.away(-beta)
    found = post(given, temperature=0).json()["choices"][0]["text"]
    assert found == smollm2.generate(PROMPT, steer, temperature=0, max_new_tokens=10).text
    assert found != post(temperature=0).json()["choices"][0]["text"]


def test_with_a_seed_in_the_settings_texts_are_the_librarys(post, smollm2):
    steer = trimtab.reward("sentiment", smollm2).toward(20.0)
    found = post('{"steer": "sentiment=20", "seed": 7, "temperature": 0.9}', temperature=0).json()
    expected = smollm2.generate(PROMPT, steer, seed=7, temperature=0.9, max_new_tokens=10)
    assert found["choices"][0]["text"] == expected.text


def test_vllm_samples_among_the_steered_candidates(post):
    texts = {post("sentiment=20", temperature=1.0, seed=seed).json()["choices"][0]["text"] for seed in range(3)}
    assert len(texts) > 1


@pytest.mark.parametrize(
    "given",
    ["kindness=3", "toxicity", "toxicity:rude=3", '{"beta": 3}', "toxicity=1e-9", '{"top_k": 1000000000000000000000}'],
)
def test_a_mistake_is_a_400(post, given):
    answer = post(given)
    assert answer.status_code == 400
    assert "expected" in answer.text
