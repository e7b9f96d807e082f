"""The lines of a row's file, for tests that damage them."""

SETTINGS = {
    "task": "prompts",
    "prompts": "some",
    "prompts_digest": "0123",
    "prompts_count": 3,
    "direction": "up",
    "method": "q",
    "beta": 2.0,
    "rewards": [["q", "kind", "q", "abcd"]],
    "model": "tiny",
    "dtype": "float32",
    "samples": 1,
    "max_new_tokens": 4,
    "top_k": 6,
    "temperature": 1.0,
    "seed": 0,
    "batch_size": 2,
}


def text_line(number, **changes):
    """The line of a text of two tokens."""
    line = {"place": number, "sample": 0, "prompt": "w1", "text": " w2 w3", "token_ids": [5, 6]}
    return {**line, "base_logprobs": [-1.0, -2.0], "kl": [0.1, 0.0], "flips": [0, 1], "encoded": 2.5, **changes}
