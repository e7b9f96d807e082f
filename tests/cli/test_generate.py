"""`trimtab generate`."""

import json

import pytest

OPTIONS = ["--seed", "1", "--max-new-tokens", "8"]


@pytest.fixture
def generate(trimtab, place):
    """Return a function that runs `trimtab generate` on the tiny language model."""
    return lambda *words, check=True: trimtab("generate", "--model", place / "lm", *OPTIONS, *words, check=check)


def json_lines(text):
    return [json.loads(line) for line in text.strip().split("\n")]


def test_json_has_one_row_per_sample_with_rewards_per_token(generate, teacher):
    rows = json_lines(generate("w1 w2", "w3", "--n", 2, "--steer", f"{teacher}:good=+5", "--json").stdout)
    assert [(row["prompt"], row["sample"]) for row in rows] == [("w1 w2", 0), ("w1 w2", 1), ("w3", 0), ("w3", 1)]
    for row in rows:
        assert "".join(row["tokens"]).strip() == row["text"].strip()
        assert {name: len(rewards) for name, rewards in row["rewards"].items()} == {"teacher:good": len(row["tokens"])}


def test_a_strong_steer_chooses_good_words(generate, teacher):
    texts = [
        json_lines(generate("w20", "--steer", f"{teacher}={beta}", "--json").stdout)[0]["text"].split()
        for beta in ("+60", "-60")
    ]
    good, bad = (sum(word in {f"w{n}" for n in range(1, 10)} for word in text) for text in texts)
    assert good > bad


def test_the_same_seed_prints_the_same_text(generate):
    once = generate("w1 w2").stdout
    assert once == generate("w1 w2").stdout != generate("w1 w2", "--seed", 2).stdout


def test_stream_prints_what_generate_prints(generate, teacher):
    words = ["w1 w2", "--steer", f"{teacher}=-5"]
    assert generate(*words, "--stream").stdout == generate(*words).stdout


def test_text_in_a_pipe_is_not_wrapped(generate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    (row,) = json_lines(generate("w1 w2", "--max-new-tokens", 30, "--json").stdout)
    assert generate("w1 w2", "--max-new-tokens", 30).stdout == row["prompt"] + row["text"] + "\n"


def test_a_text_ends_before_any_of_its_stop_strings(generate):
    (whole,) = json_lines(generate("w1 w2", "--json").stdout)
    second, third = whole["text"].split()[1:3]
    (cut,) = json_lines(generate("w1 w2", "--json", "--stop", third, "--stop", second).stdout)
    assert cut["text"] == whole["text"][: whole["text"].index(second)]


def test_show_rewards_prints_the_reward_and_its_mean(generate, teacher):
    steer = ["--steer", f"{teacher}=+5"]
    (row,) = json_lines(generate("w1 w2", *steer, "--json").stdout)
    shown = generate("w1 w2", *steer, "--show-rewards").stdout
    (rewards,) = row["rewards"].values()
    assert "teacher:good" in shown
    assert f"mean {sum(rewards) / len(rewards):.3f}" in shown


def test_an_interrupted_file_resumes_and_bad_lines_are_named(generate, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "w1 w2"}\nbroken\n{"prompt": "w3"}\n', encoding="utf-8")
    done = generate("--input", source, "--output", target, "--batch-size", 1, check=False)
    assert done.status == 1
    assert "line 2" in done.stderr
    whole = target.read_text(encoding="utf-8")
    assert [row["prompt"] for row in json_lines(whole)] == ["w1 w2", "w3"]
    target.write_text(whole.split("\n")[0] + '\n{"prompt": "w', encoding="utf-8")  # killed while it wrote
    generate("--input", source, "--output", target, "--batch-size", 1, check=False)
    assert target.read_text(encoding="utf-8") == whole


def test_an_output_that_cannot_be_written_is_named(generate, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    done = generate("--input", source, "--output", source / "out.jsonl", check=False)
    assert done.status == 1
    assert "in.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_system_message_changes_the_answer_of_a_chat(trimtab):
    words = ["generate", "Who are you?", *OPTIONS, "--json"]
    plain, chat, pirate = (
        json_lines(trimtab(*words, *more).stdout)[0]["text"]
        for more in ([], ["--chat"], ["--chat", "--system", "You are a pirate."])
    )
    assert len({plain, chat, pirate}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name"), [("arm", "sentiment:positive"), ("rad", "sentiment-rad:positive")])
def test_the_bundled_rewards_steer_by_either_method(trimtab, method, name):
    words = ["generate", "The food was", *OPTIONS, "--steer", "sentiment=+20", "--method", method, "--json"]
    (row,) = json_lines(trimtab(*words).stdout)
    assert list(row["rewards"]) == [name]
    assert "".join(row["tokens"]) == row["text"]
