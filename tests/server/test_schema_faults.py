"""What a client is told of a body that does not fit, in the words of JSON."""

import json

import pytest

ROUTE = "/v1/completions"


def refused(http, content):
    done = http.post(ROUTE, content=content, headers={"Content-Type": "application/json"})
    assert done.status_code == 400, done.text
    return done.json()["error"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steer": 3}, "got 3 for 'steer', expected an object"),
        ({"steer": {"mood": None}}, "got null for 'steer.mood', expected a number β, or an object such as"),
        ({"steer": {"mood": True}}, "got true for 'steer.mood', expected a number β"),
        ({"steer": {"mood": {"beta": "x"}}}, "got \"x\" for 'steer.mood.beta', expected a number"),
        ({"max_tokens": 0}, "got 0 for 'max_tokens', expected at least 1"),
        ({"temperature": 3}, "got 3 for 'temperature', expected at most 2"),
        ({"stop": ["a"] * 30}, "for 'stop', expected at most 16 of them"),
        ({"logit_bias": {"1": 1}}, "got {\"1\": 1} for 'logit_bias', expected at most 0 of them"),
        ({"suffix": "x"}, "got \"x\" for 'suffix', expected null, or no such field"),
        ({"trimtab": {"trace": "yes"}}, "got \"yes\" for 'trimtab.trace', expected true or false"),
        ({"prompt": None}, "got null for 'prompt', expected a text, a list of texts"),
    ],
    ids=str,
)
def test_a_field_that_does_not_fit_is_told_in_the_words_of_json(http, fields, message):
    error = refused(http, json.dumps({"prompt": "w1", **fields}))
    assert message in error["message"]
    assert error["message"].startswith("got ")
    assert error["param"].startswith(next(iter(fields)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompt": "w1",}', "got a body that is no JSON: "),
        ('{"prompt"', "at character 10"),
        ("[]", "got a body that is no JSON object, expected one with: model, steer"),
        ("", "got a body that is no JSON object"),
        ('{"prompt": "w1", "temperature": 1e999}', "got inf for 'temperature', expected a finite number"),
    ],
)
def test_a_body_that_is_no_json_says_where(http, content, message):
    assert message in refused(http, content)["message"]
