"""`POST /v1/completions`: the server's texts are the library's."""

import pytest

PROMPT = "w1 w2 w3"


def complete(http, **fields):
    done = http.post("/v1/completions", json={"prompt": PROMPT, **fields})
    assert done.status_code == 200, done.text
    return done.json()


def test_a_completion_has_openais_shape_and_the_librarys_text(http, chatting):
    found = complete(http, model="tiny", seed=3, max_tokens=8)
    expected = chatting.generate(PROMPT, seed=3, max_new_tokens=8)
    (choice,) = found["choices"]
    assert (choice["index"], choice["text"], choice["logprobs"]) == (0, expected.text, None)
    assert choice["finish_reason"] == {"length": "length", "eos": "stop"}[expected.finish_reason]
    assert found["object"] == "text_completion"
    assert found["model"] == "tiny"
    assert found["id"].startswith("cmpl-")
    written = len(expected.token_ids)
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": written, "total_tokens": 3 + written}
    assert found["trimtab"]["seed"] == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 0.5, "top_k": 5},
        {"top_p": 0.5, "top_k": 0},
        {"top_k": 0},
        {"repetition_penalty": 1.3},
        {"stop": "w1"},
        {"stop": ["w7", "w9 w1"]},
    ],
)
def test_settings_mean_what_they_mean_in_the_library(http, chatting, fields):
    found = complete(http, seed=5, max_tokens=12, n=3, **fields)
    expected = chatting.generate(PROMPT, seed=5, max_new_tokens=12, n=3, **fields)
    assert [choice["text"] for choice in found["choices"]] == [sample.text for sample in expected.samples]


def test_a_batch_of_prompts_has_n_choices_each(http, chatting):
    prompts = ["w1 w2", "w3", "w4 w5 w6 w7"]
    found = complete(http, prompt=prompts, n=2, seed=1, max_tokens=6)
    expected = [each.text for one in chatting.generate(prompts, n=2, seed=1, max_new_tokens=6) for each in one.samples]
    assert [choice["index"] for choice in found["choices"]] == list(range(6))
    assert [choice["text"] for choice in found["choices"]] == expected


def test_equal_prompts_get_different_texts_unless_a_seed_is_given(http, chatting):
    first, _, second = (
        each["text"] for each in complete(http, prompt=["w1 w2", "w3", "w1 w2"], max_tokens=12)["choices"]
    )
    assert first != second
    found = complete(http, prompt=["w1 w2", "w1 w2"], max_tokens=12)
    again = chatting.generate("w1 w2", n=2, seed=found["trimtab"]["seed"], max_new_tokens=12)
    assert [each["text"] for each in found["choices"]] == [each.text for each in again.samples]
    first, second = (
        each["text"] for each in complete(http, prompt=["w1 w2", "w1 w2"], seed=1, max_tokens=12)["choices"]
    )
    assert first == second


def test_token_ids_are_a_prompt(http, chatting):
    ids = chatting.engine.codec.encode_prompt(PROMPT)
    assert complete(http, prompt=ids, seed=1)["choices"] == complete(http, seed=1)["choices"]
    assert complete(http, prompt=[ids], seed=1)["choices"] == complete(http, seed=1)["choices"]


def test_without_a_seed_one_is_drawn_that_gives_the_text_again(http):
    first = complete(http, max_tokens=12)
    again = complete(http, max_tokens=12, seed=first["trimtab"]["seed"])
    assert again["choices"] == first["choices"]
