"""`POST /v1/chat/completions`: the library's answers, log-probabilities in both formats, and parts of messages."""

import math

import pytest

MESSAGES = [{"role": "system", "content": "w5"}, {"role": "user", "content": "w1 w2"}]


def ask(http, path="/v1/chat/completions", **fields):
    done = http.post(path, json={"seed": 2, "max_tokens": 8, **fields})
    assert done.status_code == 200, done.text
    return done.json()


def test_an_answer_has_openais_shape_and_the_librarys_text(http, chatting):
    found = ask(http, messages=MESSAGES, n=2)
    expected = chatting.chat(MESSAGES, seed=2, max_new_tokens=8, n=2)
    assert found["object"] == "chat.completion"
    assert [choice["message"] for choice in found["choices"]] == [
        {"role": "assistant", "content": sample.text} for sample in expected.samples
    ]
    assert found["usage"]["prompt_tokens"] == len(chatting.engine.codec.encode_prompt(MESSAGES))


def test_parts_of_text_and_the_role_developer_are_read(http):
    parts = [
        {"role": "developer", "content": [{"type": "text", "text": "w5"}]},
        {"role": "user", "content": [{"type": "text", "text": "w1 "}, {"type": "text", "text": "w2"}]},
    ]
    assert ask(http, messages=parts)["choices"] == ask(http, messages=MESSAGES)["choices"]


def test_an_answer_as_openais_client_writes_it_is_read(http):
    nothing = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "tool_calls"))
    answer, question = {"role": "assistant", "content": "w3"}, {"role": "user", "content": "w4"}
    dumped = ask(http, messages=[*MESSAGES, {**answer, **nothing}, question])
    assert dumped["choices"] == ask(http, messages=[*MESSAGES, answer, question])["choices"]
    refused = http.post("/v1/chat/completions", json={"messages": [{**answer, "audio": {"id": "a"}}]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages.0.audio")


def test_both_names_of_the_limit_are_read_and_may_not_disagree(http):
    older = ask(http, messages=MESSAGES, max_tokens=3)
    assert older["usage"]["completion_tokens"] <= 3
    for limit in (None, 3):
        both = {"messages": MESSAGES, "max_tokens": limit, "max_completion_tokens": 3}
        assert older["choices"] == ask(http, **both)["choices"]
    both = {"messages": MESSAGES, "max_tokens": 9, "max_completion_tokens": 3}
    refused = http.post("/v1/chat/completions", json=both)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "max_tokens")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("Hello", "messages"),
        ([{"role": "robot", "content": "w1"}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "user", "content": 5}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "image_url", "text": "x"}]}], "messages.0.content"),
        ([{"role": "user", "content": "w1", "weight": 1}], "messages.0.weight"),
        ([{"role": "user", "content": ""}], "messages"),
    ],
)
def test_other_conversations_are_refused(http, messages, param):
    done = http.post("/v1/chat/completions", json={"messages": messages})
    assert done.status_code == 400
    assert done.json()["error"]["param"] == param


def test_top_logprobs_need_logprobs(http):
    done = http.post("/v1/chat/completions", json={"messages": MESSAGES, "top_logprobs": 2})
    assert (done.status_code, done.json()["error"]["param"]) == (400, "top_logprobs")


@pytest.mark.parametrize("steer", [None, {"mood": 6}])
def test_logprobs_of_a_chat(http, chatting, shelf, steer):
    (choice,) = ask(http, messages=MESSAGES, logprobs=True, top_logprobs=3, steer=steer)["choices"]
    by = shelf[0].reward.toward(6) if steer else None
    expected = chatting.chat(MESSAGES, by, seed=2, max_new_tokens=8)
    tokens = [token for token in expected.trace if token.token_id not in chatting.engine.codec.eos_token_ids]
    entries = choice["logprobs"]["content"]
    assert len(entries) == len(tokens)
    for entry, token in zip(entries, tokens, strict=True):
        known = token.choice.logprob if steer else token.choice.base_logprob
        assert entry["token"] == token.text
        assert bytes(entry["bytes"]).decode() == token.text
        assert math.isclose(entry["logprob"], known, abs_tol=1e-4)
        top = [each["logprob"] for each in entry["top_logprobs"]]
        assert len(top) == 3
        assert top == sorted(top, reverse=True)
        best = token.choice.steered_logprobs if steer else token.choice.base_logprobs
        assert math.isclose(top[0], float(best.max()), abs_tol=1e-4)


def test_logprobs_of_a_completion(http, chatting):
    (choice,) = ask(http, "/v1/completions", prompt="w1 w2", logprobs=2)["choices"]
    found = choice["logprobs"]
    expected = chatting.generate("w1 w2", seed=2, max_new_tokens=8)
    tokens = [token for token in expected.trace if token.token_id not in chatting.engine.codec.eos_token_ids]
    assert found["tokens"] == [token.text for token in tokens]
    for offset, text in zip(found["text_offset"], found["tokens"], strict=True):
        assert choice["text"][offset : offset + len(text)] == text
    for value, token in zip(found["token_logprobs"], tokens, strict=True):
        assert math.isclose(value, token.choice.base_logprob, abs_tol=1e-4)
    assert all(len(top) == 2 for top in found["top_logprobs"])


def test_logprobs_without_candidates(http):
    (choice,) = ask(http, messages=MESSAGES, logprobs=True)["choices"]
    assert {len(each["top_logprobs"]) for each in choice["logprobs"]["content"]} <= {0}
