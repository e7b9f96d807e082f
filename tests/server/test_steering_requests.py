"""Steers of requests: by the field and by the model's name, with what was applied in the response."""

import math

import pytest

PROMPT = "w1 w2 w3"


@pytest.fixture(scope="module")
def rewards(shelf):
    return {each.name: each.reward for each in shelf}


def text(http, path="/v1/completions", **fields):
    done = http.post(path, json={"prompt": PROMPT, "seed": 3, "max_tokens": 10, **fields})
    assert done.status_code == 200, done.text
    return done.json()["choices"][0]["text"]


@pytest.mark.parametrize(
    ("fields", "steer"),
    [
        ({"steer": {"mood": 6}}, lambda r: r["mood"].toward(6)),
        ({"steer": {"mood": -6}}, lambda r: r["mood"].away(6)),
        ({"model": "tiny+mood=-6"}, lambda r: r["mood"].away(6)),
        ({"model": "tiny+mood:calm=+6"}, lambda r: r["mood"].toward(6, "calm")),
        ({"model": "tiny+mood=-6+mood-rad=4"}, lambda r: r["mood"].away(6) + r["mood-rad"].toward(4)),
        ({"model": "tiny+mood=-6", "steer": {"mood-rad": 4}}, lambda r: r["mood"].away(6) + r["mood-rad"].toward(4)),
        ({"steer": {"mood": {"beta": 6, "attribute": "calm"}}}, lambda r: r["mood"].toward(6, "calm")),
        ({"steer": {"mood": {"beta": 6, "method": "rad"}}}, lambda r: r["mood-rad"].toward(6)),
        ({"steer": {"mood": {"beta": 6, "min_entropy": 2.9}}}, lambda r: r["mood"].toward(6, min_entropy=2.9)),
    ],
    ids=lambda each: str(each)[:60] if isinstance(each, dict) else "",
)
def test_a_steered_text_is_the_librarys(http, chatting, rewards, fields, steer):
    expected = chatting.generate(PROMPT, steer(rewards), seed=3, max_new_tokens=10)
    assert text(http, **fields) == expected.text


def test_steers_change_the_text(http):
    """So that the comparisons above are about steering."""
    assert len({text(http), text(http, steer={"mood": 30}), text(http, steer={"mood": -30})}) == 3


def test_a_budget_of_zero_switches_steering_off(http):
    assert text(http, steer={"mood": 30}, max_kl=0) == text(http)


def test_the_response_names_the_rewards_and_their_fingerprints(http, rewards, chatting):
    done = http.post("/v1/completions", json={"prompt": PROMPT, "steer": {"mood": -6}, "seed": 1}).json()["trimtab"]
    (term,) = done["steer"]
    assert term["fingerprint"] == rewards["mood"].fingerprint
    assert (term["source"], term["base"]) == ("mood", "tiny")
    record = done["provenance"]
    assert record["model"] == "tiny"
    assert record["weights_fingerprint"] == chatting.engine.describe()["weights_fingerprint"]
    assert record["sampling"]["seed"] == 1


def test_a_trace_has_the_librarys_candidates(http, chatting, rewards):
    fields = {"prompt": PROMPT, "seed": 3, "max_tokens": 5, "steer": {"mood": 6}, "trimtab": {"trace": True}}
    (choice,) = http.post("/v1/completions", json=fields).json()["choices"]
    expected = chatting.generate(PROMPT, rewards["mood"].toward(6), seed=3, max_new_tokens=5).trace
    assert len(choice["trimtab"]["trace"]) == len(expected)
    for found, token in zip(choice["trimtab"]["trace"], expected, strict=True):
        assert found["token_id"] == token.token_id
        assert found["rewards"].keys() == token.rewards.keys() == {"mood:kind", "mood:calm"}
        assert len(found["candidates"]) == len(token.candidates)
        for candidate, known in zip(found["candidates"], token.candidates, strict=True):
            assert candidate["token_id"] == known.token_id
            assert math.isclose(candidate["logprob"], known.logprob, abs_tol=1e-4)
            assert math.isclose(candidate["base_logprob"], known.base_logprob, abs_tol=1e-4)


def test_rewards_are_listed(http, rewards):
    found = {each["id"]: each for each in http.get("/v1/rewards").json()["data"]}
    assert found.keys() == {"mood", "mood-rad"}
    assert found["mood-rad"]["method"] == "rad"
    assert found["mood"]["attributes"] == ["kind", "calm"]
    assert found["mood"]["fingerprint"] == rewards["mood"].fingerprint


def test_the_model_is_listed(http):
    (model,) = http.get("/v1/models").json()["data"]
    assert (model["id"], model["object"]) == ("tiny", "model")
