"""`best_of_reward` and `rewind`: the library's texts, with progress in streams."""

import json
import math
import time
from dataclasses import asdict

import httpx
import pytest

from running_server import running, wait_until
from trimtab.judges.reward_judge import RewardJudge
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.server.app import create_app
from trimtab.server.server_settings import ServerSettings

PROMPT = "w1 w2 w3"
SLOW = 0.02  # seconds that a draft is judged for, so that a thousand are not judged before another request comes
SHORT = {"iterations": 4, "fresh_iterations": 2, "children": 3, "max_children": 3, "draft_tokens": 3}
SEARCH = {"similarity": "off", "judge_rewards": {"mood": -1}, **SHORT}


def ask(http, **fields):
    done = http.post("/v1/completions", json={"prompt": PROMPT, "seed": 3, "max_tokens": 5, **fields})
    assert done.status_code == 200, done.text
    return done.json()


def choice_record(http):
    """The provenance of a searched text."""
    return ask(http, rewind=SEARCH)["trimtab"]["provenance"]


def events(http, **fields):
    asked = {"prompt": PROMPT, "seed": 3, "max_tokens": 5, "stream": True, **fields}
    with http.stream("POST", "/v1/completions", json=asked) as done:
        lines = [line.removeprefix("data: ") for line in done.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("by", ["mood", {"mood": 1}, {"mood": {"beta": 2, "attribute": "calm"}, "mood-rad": -1}])
def test_the_best_drafts_are_the_librarys(http, chatting, shelf, by):
    mood, rad = (each.reward for each in shelf)
    ranking = mood.toward(2, "calm") + rad.away(1) if "mood-rad" in by else mood.toward(1)
    expected = chatting.best_of(PROMPT, 6, ranking, seed=3, max_new_tokens=5)
    found = ask(http, best_of=6, best_of_reward=by, n=2)
    assert [choice["text"] for choice in found["choices"]] == [draft.text for draft in expected.drafts[:2]]
    for choice, score in zip(found["choices"], expected.scores, strict=False):
        assert math.isclose(choice["trimtab"]["score"], score, abs_tol=1e-4)
    assert found["usage"]["completion_tokens"] == sum(len(draft.token_ids) for draft in expected.drafts)


def test_drafts_are_steered_and_ranked_by_different_rewards(http, chatting, shelf):
    mood, rad = (each.reward for each in shelf)
    expected = chatting.best_of(PROMPT, 4, mood.toward(1), rad.away(6), seed=3, max_new_tokens=5)
    found = ask(http, best_of=4, best_of_reward="mood", steer={"mood-rad": -6})
    assert found["choices"][0]["text"] == expected.text


def test_a_stream_of_drafts_tells_its_progress_and_then_the_best(http):
    found = events(http, best_of=4, best_of_reward="mood")
    states = [event["trimtab"]["progress"] for event in found if not event["choices"]]
    assert states == [{"drafts": number, "of": 4} for number in range(1, 5)]
    text = "".join(choice["text"] for event in found for choice in event["choices"])
    assert text == ask(http, best_of=4, best_of_reward="mood")["choices"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"best_of": 4}, "best_of"),
        ({"best_of": 2, "n": 3, "best_of_reward": "mood"}, "best_of"),
        ({"best_of": 17, "best_of_reward": "mood"}, "best_of"),
        ({"best_of_reward": "humour"}, "best_of_reward"),
        ({"best_of_reward": {"mood": math.inf}}, "best_of_reward.mood.beta"),
        ({"rewind": {"judge": "self:/etc/passwd"}}, "rewind.judge"),
        ({"rewind": {"judge": "self:mine.toml"}}, "rewind.judge"),
        ({"rewind": {"judge_rewards": {"humour": 1}}}, "rewind.judge_rewards"),
        ({"rewind": {"judge": "self", "judge_rewards": {"mood": 1}}}, "rewind.judge"),
        ({"rewind": {"judge_rewards": {}}}, "rewind.judge_rewards"),
        ({"rewind": {}, "repetition_penalty": 1.5}, "repetition_penalty"),
        ({"rewind": {}, "top_p": 0.5}, "top_p"),
        ({"best_of": 2, "best_of_reward": {}}, "best_of_reward"),
        ({"best_of": 2, "best_of_reward": {"mood": {"beta": 1, "min_entropy": 0.5}}}, "best_of_reward"),
        ({"rewind": {"judge_rewards": {"mood": {"beta": 1, "min_entropy": 0.5}}}}, "rewind.judge_rewards"),
        ({"best_of": 2, "best_of_reward": "mood", "temperature": 0}, "temperature"),
        ({"rewind": {"depth": 3}}, "rewind.depth"),
        ({"rewind": {"iterations": 10**9}}, "rewind.iterations"),
        ({"rewind": {"children": 5, "max_children": 2}}, "rewind"),
        ({"rewind": {}, "temperature": 0}, "rewind"),
        ({"rewind": {}, "n": 2}, "rewind"),
        ({"rewind": {}, "prompt": [4, 5]}, "rewind"),
        ({"rewind": {}, "prompt": ["w1", "w2"]}, "rewind"),
        ({"rewind": {"similarity": "owner/model"}}, "rewind.similarity"),
    ],
    ids=str,
)
def test_misfits_name_their_field(http, fields, param):
    done = http.post(
        "/v1/completions", content=json.dumps({"prompt": "w1", **fields}), headers={"Content-Type": "application/json"}
    )
    assert done.status_code == 400, done.text
    assert done.json()["error"]["param"] == param


def test_a_search_finds_the_librarys_text_and_tells_its_progress(http, chatting, shelf):
    expected = chatting.rewind(
        PROMPT, shelf[0].reward.away(1), None, RewindSettings(max_new_tokens=5, **SHORT), similarity="off", seed=3
    )
    (choice,) = ask(http, rewind=SEARCH)["choices"]
    assert choice["text"] == expected.text
    assert choice["trimtab"]["rewind"]["iterations"] == expected.iterations
    record, made = choice_record(http), expected.provenance
    for name in ("method", "judge", "similarity", "search", "budget", "stop", "seed", "weights_fingerprint"):
        assert record[name] == json.loads(json.dumps(made[name])), name
    assert "sampling" not in record
    found = events(http, rewind=SEARCH)
    states = [event["trimtab"]["progress"] for event in found if not event["choices"]]
    counts = [state["iterations"] for state in states]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= expected.iterations
    (last,) = (each["trimtab"]["rewind"] for event in found for each in event["choices"] if "trimtab" in each)
    assert last["commits"] == json.loads(json.dumps([asdict(commit) for commit in expected.commits]))
    told = [commit for state in states for commit in state["commits"]]
    assert told == last["commits"][: len(told)]
    assert any(state["branches"] for state in states)
    assert "".join(choice["text"] for event in found for choice in event["choices"]) == expected.text


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_cannot_judge_itself_is_told(http, stream):
    """The tiny tokenizer has no letters to answer with."""
    done = http.post("/v1/completions", json={"prompt": "w1", "rewind": {}, "stream": stream})
    assert done.status_code == (200 if stream else 400)  # a stream has begun when the search starts
    assert "self-judge" in done.text
    assert '"code": "unsupported"' in done.text


def test_searches_are_limited_and_end_when_their_client_leaves(chatting, shelf, monkeypatch):
    score = RewardJudge.score
    monkeypatch.setattr(RewardJudge, "score", lambda *given: time.sleep(SLOW) or score(*given))
    app = create_app(chatting, "tiny", shelf, ServerSettings(max_searches=1))
    endless = {
        "prompt": PROMPT,
        "max_tokens": 50,
        "stream": True,
        "rewind": {**SEARCH, "iterations": 1000, "fresh_iterations": 1000},
    }
    with running(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", "/v1/completions", json=endless) as first:
            next(first.iter_lines())
            assert client.post("/v1/completions", json=endless).status_code == 429
            assert client.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 2}).status_code == 200
        wait_until(lambda: not app.state.trimtab.searches.running)


def test_a_search_whose_client_leaves_while_it_waits_frees_its_place_at_once(chatting, shelf, monkeypatch):
    score = RewardJudge.score
    monkeypatch.setattr(RewardJudge, "score", lambda *given: time.sleep(SLOW) or score(*given))
    app = create_app(chatting, "tiny", shelf, ServerSettings(max_searches=2))
    endless = {"prompt": PROMPT, "max_tokens": 50, "rewind": {**SEARCH, "iterations": 1000, "fresh_iterations": 1000}}
    with running(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        with client.stream("POST", "/v1/completions", json={**endless, "stream": True}) as first:
            next(first.iter_lines())
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/completions", json=endless, timeout=0.5)
            wait_until(lambda: app.state.trimtab.searches.running == 1)
        wait_until(lambda: not app.state.trimtab.searches.running)
        text = client.get("/metrics").text
    assert 'trimtab_requests_total{route="/v1/completions",status="499"} 1.0' in text  # no text is no answer
