"""Two hundred malformed bodies: each is answered, none by a 5xx, and every refusal has OpenAI's shape."""

import json
import random

import pytest

from trimtab.server.schemas import ChatRequest, CompletionRequest

ROUTES = {"/v1/completions": CompletionRequest, "/v1/chat/completions": ChatRequest}
GOOD = {
    "/v1/completions": {"prompt": "w1 w2", "max_tokens": 2},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "w1"}], "max_tokens": 2},
}
STRANGE = [
    None, True, -1, 0, 1, 7, 10**20, -(10**400), 0.5, 1e308, float("nan"), float("inf"), "", "x", "\x00", "\ud800",
    "../../etc/passwd", "w1 " * 300, [], [[]], [None], [0], ["", 1], [[[1]]], [{"role": "user"}], {}, {"": ""},
    {"mood": {}}, {"mood": []}, {"mood": None}, {"beta": 3}, {"mood": {"beta": {}}}, {"trace": "yes"}, [1.5], [True],
]  # fmt: skip
BODIES = 100  # of each route


def malformed(route, number):
    """A body in which some fields have strange values; some bodies are cut or spoiled besides."""
    chance = random.Random(f"{route} {number}")
    fields = dict(GOOD[route])
    names = [*ROUTES[route].model_fields, "unknown", "__class__"]
    for name in chance.sample(names, chance.randint(1, 3)):
        fields[name] = chance.choice(STRANGE)
    if number % 5 == 0:
        fields["rewind"] = {chance.choice(["judge", "iterations", "children", "x"]): chance.choice(STRANGE)}
    body = json.dumps(fields).encode()
    if number % 7 == 0:
        body = body[: chance.randrange(len(body))]
    if number % 11 == 0:
        place = chance.randrange(len(body) or 1)
        body = body[:place] + bytes([chance.randrange(256)]) + body[place:]
    return body


@pytest.mark.parametrize("route", ROUTES)
def test_no_body_is_answered_by_a_5xx(http, route):
    statuses = []
    for number in range(BODIES):
        body = malformed(route, number)
        done = http.post(route, content=body, headers={"Content-Type": "application/json"})
        statuses.append(done.status_code)
        assert done.status_code < 500, (body, done.text)
        if done.status_code != 200:
            error = done.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}, (body, error)
            assert error["message"], body
    assert statuses.count(400) > BODIES / 2  # most of them are malformed indeed
    assert http.get("/health").status_code == 200
