"""A client that leaves frees its rows, streaming or not; many clients at once get the library's texts."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from running_server import running, wait_until
from trimtab.engines.sampling_params import SamplingParams
from trimtab.language_model import LanguageModel
from trimtab.server.app import create_app
from trimtab.server.server_settings import ServerSettings
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec

CLIENTS = 24


class SlowWords:
    """The next word is always the same; each waits for a turn."""

    def __init__(self):
        self.turns, self.written = threading.Semaphore(0), 0

    def __call__(self, words):
        assert self.turns.acquire(timeout=20)
        self.written += 1
        return {"a": 1.0}


@pytest.fixture
def slow():
    """A server over a scripted engine that writes a word when a test lets it, the words, and the scheduler."""
    words = SlowWords()
    engine = ScriptedEngine(WordCodec(["a", "b"], context_length=10_000), words)
    app = create_app(LanguageModel(engine), "words", [], ServerSettings(max_tokens=9000, max_rows=2))
    with running(app) as url:
        yield url, words, app.state.trimtab.scheduler
        words.turns.release(10_000)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_rows(slow, stream):
    url, words, scheduler = slow
    fields = {"prompt": "a b", "max_tokens": 9000, "top_k": 2, "stream": stream, "n": 2}
    with httpx.Client(base_url=url) as client:
        words.turns.release(4)
        if stream:
            with client.stream("POST", "/v1/completions", json=fields) as answer:
                wait_until(lambda: words.written == 4)
                assert next(answer.iter_lines()).startswith("data: ")
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json=fields, timeout=httpx.Timeout(30, read=2))
    wait_until(lambda: words.written == 4)
    words.turns.release(20)  # the step that is running ends, and sees that the client left
    wait_until(lambda: scheduler.rows == 0)
    assert words.written < 24
    status = 200 if stream else 499  # a stream has begun
    wait_until(lambda: answers(url, status) == 1)


def test_a_client_that_leaves_while_it_waits_is_no_answer_and_its_prompt_is_not_counted(slow):
    url, words, scheduler = slow
    fields = {"prompt": "a b", "top_k": 2, "n": 2}
    with ThreadPoolExecutor(2) as pool:
        served = pool.submit(httpx.post, f"{url}/v1/completions", json={**fields, "max_tokens": 3}, timeout=30)
        wait_until(lambda: scheduler.rows == 2)
        leaving = pool.submit(httpx.post, f"{url}/v1/completions", json=fields, timeout=httpx.Timeout(30, read=2))
        wait_until(lambda: scheduler.queued == 1)
        assert isinstance(leaving.exception(), httpx.ReadTimeout)
        wait_until(lambda: scheduler.queued == 0)
        words.turns.release(1000)
        assert served.result().json()["usage"]["prompt_tokens"] == 2
    wait_until(lambda: (answers(url, 200), answers(url, 499)) == (1, 1))
    assert counted(url, 'tokens_total{kind="prompt"}') == 2


def answers(url, status):
    """How many completions had this status."""
    return counted(url, f'requests_total{{route="/v1/completions",status="{status}"}}')


def counted(url, name):
    """A number of /metrics; 0 if it is not there."""
    found = re.findall(rf"^trimtab_{re.escape(name)} (\S+)$", httpx.get(f"{url}/metrics").text, flags=re.M)
    return float(found[0]) if found else 0


def test_many_clients_get_the_texts_that_the_library_writes(http, chatting, shelf, app):
    """The law of the server: a text does not depend on who else is served."""
    rewards = {each.name: each.reward for each in shelf}
    steers = [None, rewards["mood"].toward(8), rewards["mood"].away(5), rewards["mood-rad"].toward(6)]
    fields = [{}, {"steer": {"mood": 8}}, {"steer": {"mood": -5}}, {"steer": {"mood-rad": 6}}]
    prompts = [" ".join(f"w{(7 * i + j) % 40}" for j in range(1 + i % 5)) for i in range(CLIENTS)]
    params = [SamplingParams(seed=i, max_new_tokens=4 + i % 9, temperature=(i % 3) / 2) for i in range(CLIENTS)]

    def ask(i):
        asked = {
            "prompt": prompts[i],
            "seed": i,
            "max_tokens": params[i].max_new_tokens,
            "temperature": params[i].temperature,
            **fields[i % 4],
        }
        return http.post("/v1/completions", json=asked).json()["choices"][0]["text"]

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(ask, range(CLIENTS)))
    expected = [chatting.generate(prompt, steers[i % 4], params[i]).text for i, prompt in enumerate(prompts)]
    assert found == expected
    assert app.state.trimtab.scheduler.rows == 0


@pytest.mark.long
def test_clients_that_leave_change_no_text_of_the_others(address, http, chatting, shelf, app):
    """A third of the clients leaves at some token; the others get their texts, and no row stays."""
    reward = shelf[0].reward

    def ask(i):
        beta = (-1) ** i * i
        asked = {"prompt": f"w{i} w{i + 1}", "seed": i, "max_tokens": 30, "steer": {"mood": beta}}
        if i % 3:
            return http.post("/v1/completions", json=asked).json()["choices"][0]["text"]
        with httpx.stream("POST", f"{address}/v1/completions", json={**asked, "stream": True}, timeout=30) as answer:
            lines = answer.iter_lines()
            for _ in range(1 + i):
                next(lines, None)  # a text may end before
        return None

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(ask, range(1, CLIENTS)))
    for i, text in enumerate(found, start=1):
        steer = reward.away(i) if i % 2 else reward.toward(i)
        assert text in (None, chatting.generate(f"w{i} w{i + 1}", steer, seed=i, max_new_tokens=30).text)
    wait_until(lambda: app.state.trimtab.scheduler.rows == 0)
