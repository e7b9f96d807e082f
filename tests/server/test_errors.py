"""Faults of requests: every one is told in OpenAI's shape, with the name of its field, before any work."""

import json
import math

import httpx
import pytest

from running_server import KEY, running
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.language_model import LanguageModel
from trimtab.server.api_errors import APIError, as_api_error
from trimtab.server.app import create_app
from trimtab.server.call import check_trace
from trimtab.server.gate import ROUTES, is_open
from trimtab.server.page_files import PAGE_FOLDER
from trimtab.server.server_settings import ServerSettings

OK = {"prompt": "w1"}
MISFITS = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [""]}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [1, True]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [10**6]}, "prompt"),
    ({"prompt": [10**40]}, "prompt"),
    ({"prompt": ["w1", [4]], "n": 10**7}, "n"),
    ({"prompt": {"text": "w1"}}, "prompt"),
    ({"prompt": "w1 " * 200}, "prompt"),
    ({"prompt": "\ud800"}, "prompt"),
    ({"prompt": ["w1"] * 17}, "prompt"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"n": "2"}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": True}, "n"),
    ({"temperature": math.nan}, "temperature"),
    ({"temperature": math.inf}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": 65}, "top_k"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 41}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_kl": -1}, "max_kl"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"repetition_penalty": 1e-30}, "repetition_penalty"),
    ({"repetition_penalty": 1e6}, "repetition_penalty"),
    ({"seed": 2**70}, "seed"),
    ({"seed": 1.0}, "seed"),
    ({"stop": 5}, "stop"),
    ({"stop": [""]}, "stop.0"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"logprobs": 6}, "logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"usage": True}}, "stream_options.usage"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"logit_bias": {"4": -100}}, "logit_bias"),
    ({"suffix": "end"}, "suffix"),
    ({"echo": 1}, "echo"),
    ({"steering": {"mood": 1}}, "steering"),
    ({"trimtab": {"traces": True}}, "trimtab.traces"),
    ({"trimtab": {"trace": 1}}, "trimtab.trace"),
    ({"steer": "mood=3"}, "steer"),
    ({"steer": {"mood": math.nan}}, "steer.mood.beta"),
    ({"steer": {"mood": -math.inf}}, "steer.mood.beta"),
    ({"steer": {"mood": 1e7}}, "steer.mood.beta"),
    ({"steer": {"mood": 1e-12}}, "beta"),
    ({"steer": {"mood": 3}, "top_k": 1}, "top_k"),
    ({"best_of": 3, "best_of_reward": {"mood": 0}}, "best_of_reward"),
    ({"steer": {"mood": {"beta": 3, "min_entropy": 1000}}}, "min_entropy"),
    ({"steer": {"mood": "3"}}, "steer.mood"),
    ({"steer": {"mood": True}}, "steer.mood"),
    ({"steer": {"mood": {"beta": 1, "clamp": 2}}}, "steer.mood.clamp"),
    ({"steer": {"mood": {"attribute": "kind"}}}, "steer.mood.beta"),
    ({"steer": {"mood": {"beta": 1, "min_entropy": -1}}}, "steer.mood.min_entropy"),
    ({"steer": {"mood": {"beta": 1, "attribute": "rude"}}}, "steer.mood"),
    ({"steer": {"mood": {"beta": 1, "method": "magic"}}}, "steer.mood"),
    ({"steer": {"mood-rad": {"beta": 1, "method": "arm"}}}, "steer.mood-rad"),
    ({"steer": {"humour": 3}}, "steer.humour"),
    ({"steer": {"/etc": 3}}, "steer./etc"),
    ({"steer": {"owner/reward": 3}}, "steer.owner/reward"),
    ({"steer": {"mood-rad": 3}, "top_k": 0}, "top_k"),
    ({"model": "tiny+mood"}, "model"),
    ({"model": "tiny+mood=much"}, "model"),
    ({"model": "tiny+humour=3"}, "model"),
    ({"model": f"tiny+mood:{'a' * 300}=1"}, "model"),
    ({"prompt": ["w1", "w2"], "n": 9, "best_of_reward": "mood"}, "n"),
    ({"n": 17, "best_of_reward": "mood"}, "n"),
]
NO_JSON = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b'"prompt"',
    b"\xff\xfe",
    b"[" * 5000,
    b'{"prompt": "w1"} x',
    b"{'prompt': 1}",
]


def post(http, body, path="/v1/completions", **headers):
    return http.post(path, content=body, headers={"Content-Type": "application/json", **headers})


def error_of(response):
    """The error of a response, which has OpenAI's shape."""
    (name,) = response.json()
    error = response.json()[name]
    assert name == "error"
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "\n" not in error["message"]
    return error


@pytest.mark.parametrize(("fields", "param"), MISFITS, ids=lambda each: str(each)[:50])
def test_a_misfit_is_a_400_that_names_its_field(http, fields, param):
    done = post(http, json.dumps({**OK, **fields}))
    assert done.status_code == 400, done.text
    error = error_of(done)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"].startswith(("got ", "expected "))


@pytest.mark.parametrize(
    "body",
    ['{"prompt": "w1", "steer": {"mood": 3}, "steer": null}', '{"prompt": "w1", "steer": {"mood": 3, "mood": -3}}'],
)
def test_a_key_that_is_given_twice_is_a_400(http, body):
    done = post(http, body)
    assert done.status_code == 400, done.text
    assert "twice, expected it once" in error_of(done)["message"]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:20]))
def test_a_body_that_is_no_json_object_is_a_400(http, body):
    done = post(http, body)
    assert done.status_code == 400, done.text
    assert error_of(done)["param"] is None


def test_another_content_type_is_refused(http):
    done = http.post("/v1/completions", content=json.dumps(OK), headers={"Content-Type": "text/plain"})
    assert done.status_code == 400
    error_of(done)


def test_another_model_is_a_404(http):
    done = post(http, json.dumps({**OK, "model": "gpt-4"}))
    assert done.status_code == 404
    assert (error_of(done)["param"], error_of(done)["code"]) == ("model", "model_not_found")


@pytest.fixture(scope="module")
def roomy(chatting):
    """A client of a server whose limits let a response grow."""
    settings = ServerSettings(max_rows=1000, max_tokens=100)
    with running(create_app(chatting, "org/tiny", [], settings)) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 400, "top_k": 51},
        {"n": 400, "top_k": 0},  # the whole vocabulary, 64
        {"prompt": ["w1"] * 400, "top_k": 64},
        {"prompt": ["w1 w2 w3 w4 w5 w6 w7 w8"] * 20, "n": 50, "max_tokens": 30, "top_k": 64, "echo": True},
    ],
    ids=str,
)
def test_a_trace_that_may_fill_the_memory_is_refused(roomy, fields):
    asked = {"prompt": "w1", "max_tokens": 100, "stop": ["w"], **fields, "trimtab": {"trace": True}}
    done = roomy.post("/v1/completions", json=asked)
    error = error_of(done)
    assert (done.status_code, error["param"]) == (400, "trimtab.trace")
    assert "expected at most 2000000: lower n, the number of prompts, max_tokens or top_k" in error["message"]


def test_a_trace_is_bounded_by_what_is_returned_of_it():
    def asked(top_k):
        return [Request([1] * 9, SamplingParams(n=99, top_k=top_k, max_new_tokens=1000, seed=0))]

    check_trace(asked(1000), 2, False, 50_000)
    check_trace(asked(2000), 31, False, 50_000)  # of more than 1,024 candidates, 64 are kept
    check_trace(asked(None), 31, False, 50_000)
    for kept, echo in ((3, False), (2, True)):
        with pytest.raises(APIError, match="a trace of up to"):
            check_trace(asked(1000), kept, echo, 50_000)


def test_the_served_model_is_found_by_its_name_alone(roomy):
    (listed,) = roomy.get("/v1/models").json()["data"]
    assert listed["id"] == "org/tiny"
    assert roomy.get("/v1/models/org/tiny").json() == roomy.get("/v1/models/org%2Ftiny").json() == listed
    for other in ("org", "tiny", "org/tiny/", "org/tiny+mood=3", "../org/tiny"):
        done = roomy.get(f"/v1/models/{other.replace('..', '%2e%2e')}")
        assert done.status_code == 404
        assert error_of(done)["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/completions", 405), ("POST", "/v1/models", 405), ("GET", "/v2", 404), ("GET", "/docs", 404)],
)
def test_another_route_or_method_is_told_in_the_same_shape(http, method, path, status):
    done = http.request(method, path)
    assert done.status_code == status
    assert error_of(done)["type"] == "invalid_request_error"


@pytest.fixture(scope="module")
def guarded(chatting):
    """A client of a server with a key and a small limit of bytes."""
    app = create_app(chatting, "tiny", [], ServerSettings(max_body=200), api_key=KEY)
    with running(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
@pytest.mark.parametrize("path", [*(path for path in ROUTES if not is_open(path)), "/openapi.json", "/none"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_route_needs_the_key(guarded, method, path, header):
    done = guarded.request(method, path, headers={} if header is None else {"Authorization": header})
    assert done.status_code == 401
    assert error_of(done)["code"] == "invalid_api_key"


def test_the_gate_names_every_route_that_the_application_has(chatting):
    routes = [route.path_format for route in create_app(chatting, "tiny").routes]
    paths = {path for path in routes if not path.startswith(PAGE_FOLDER)}
    assert paths == {*ROUTES, "/openapi.json"}


def test_health_needs_no_key_and_the_right_key_opens_the_rest(guarded):
    assert guarded.get("/health").json() == {"status": "ok"}
    assert guarded.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_a_413(guarded, announced):
    body = json.dumps({"prompt": "w1 " * 100}).encode()
    content = body if announced else iter([body[:150], body[150:]])
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    done = guarded.post("/v1/completions", content=content, headers=headers)
    assert done.status_code == 413
    assert error_of(done)["code"] == "body_too_large"


def test_a_bug_is_a_500_without_details(chatting):
    told = as_api_error(KeyError("secret"))
    assert (told.status, "secret" in told.message) == (500, False)
    assert as_api_error(RuntimeError("CUDA error: out of memory")).status == 503


def test_a_chat_without_a_template_names_the_messages(lm):
    with running(create_app(LanguageModel(lm.engine), "plain")) as url:
        done = httpx.post(f"{url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "w1"}]})
    assert done.status_code == 400
    assert "chat template" in error_of(done)["message"]
