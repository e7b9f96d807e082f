"""`--engine vllm`: what cannot run is refused before any weights load, whether vLLM is installed here or not."""

import pytest

from trimtab.engines import engine_names

COMMANDS = {
    "generate": ["generate", "Hello"],
    "rewind": ["rewind", "search", "Hello", "--judge", "sentiment=+1"],
    "serve": ["serve"],
    "bench": ["bench", "--quick"],
    "evaluate": ["evaluate", "toxicity", "--prompts", "PROMPTS", "--reward", "toxicity", "--beta", "9", "--out", "OUT"],
}


@pytest.fixture
def no_weights(monkeypatch):
    """Fail where weights would load."""

    def load(*args, **kwargs):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("trimtab.models.loading._load_weights", load)


@pytest.fixture
def run(trimtab, tmp_path, no_weights):
    def run(words, *more):
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text('{"prompt": "Hello"}\n', encoding="utf-8")
        known = {"PROMPTS": prompts, "OUT": tmp_path / "out"}
        return trimtab(*[known.get(word, word) for word in words], *more, "--engine", "vllm", check=False)

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_package_is_named(run, monkeypatch, command):
    monkeypatch.setattr(engine_names, "find_spec", lambda name: None)
    done = run(COMMANDS[command])
    assert done.status == 1
    assert "pip install 'trimtab[vllm]'" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "Hello", "--steer", "sentiment-rad=9"], "RAD"),
        (["generate", "Hello", "--steer", "sentiment=9", "--method", "rad"], "RAD"),
        (["generate", "Hello", "--batch-invariant"], "batch_invariant"),
        (["generate", "Hello", "--speculate", "lookup"], "speculate"),
        (["rewind", "search", "Hello", "--judge", "sentiment=+1", "--steer", "toxicity-rad=-9"], "RAD"),
        (["serve", "--reward", "sentiment-rad"], "RAD"),
        (
            ["evaluate", "toxicity", "--prompts", "PROMPTS", "--reward", "toxicity-rad", "--beta", "9", "--out", "OUT"],
            "RAD",
        ),
        (["bench", "--shapes", "tiny"], "--shapes"),
    ],
    ids=lambda value: " ".join(value[:5]) if isinstance(value, list) else None,
)
def test_what_the_engine_lacks_is_refused(run, monkeypatch, words, message):
    monkeypatch.setattr(engine_names, "find_spec", lambda name: object())
    done = run(words)
    assert done.status == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
