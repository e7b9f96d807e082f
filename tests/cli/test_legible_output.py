"""Nothing that a command prints holds characters that a terminal acts on, whatever texts and names hold."""

import json
import shutil

import pytest

EVIL = "\x1b[31mred\x1b]0;title\x07 \x9b2J \u202e \x7f\r"
TERMINAL = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e"} - {"\n", "\t"}


@pytest.fixture
def evil_reward(teacher, place):
    """The tiny reward, in a folder and with an attribute whose names hold escape codes."""
    folder = place / "evil\x1b[31m\u202e"
    shutil.copytree(teacher, folder, dirs_exist_ok=True)
    card = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    card["attributes"] = ["good\x1b[2J\x9b"]
    (folder / "config.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def check(done):
    assert not TERMINAL & set(done.stdout)
    assert not TERMINAL & set(done.stderr)
    return done


@pytest.mark.parametrize("more", [[], ["--prefixes"], ["--json"], ["--prefixes", "--json"]])
def test_score_prints_nothing_that_a_terminal_acts_on(trimtab, evil_reward, more):
    done = check(trimtab("score", "--reward", evil_reward, "--text", f"w1 {EVIL}", *more))
    if "--json" in more:
        row = json.loads(done.stdout)
        assert row["text"] == f"w1 {EVIL}"
        assert list(row["rewards"]) == ["good\x1b[2J\x9b"]
    else:
        assert "good<U+001B>[2J<U+009B>=" in done.stdout
        assert "w1 <U+001B>[31mred" in done.stdout


@pytest.mark.parametrize("more", [[], ["--show-tree", "--stats"], ["--json"]])
def test_rewind_prints_nothing_that_a_terminal_acts_on(trimtab, evil_reward, place, more):
    quick = ["--iterations", 2, "--fresh-iterations", 1, "--max-new-tokens", 2, "--seed", 0, "--draft-tokens", 2]
    words = ["rewind", f"w1 {EVIL}", "--model", place / "lm", "--judge", f"{evil_reward}=+1", *quick, *more]
    done = check(trimtab(*words))
    if "--json" in more:
        assert json.loads(done.stdout)["prompt"] == f"w1 {EVIL}"
    else:
        assert "<U+001B>[31mred" in done.stdout


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_calibrate_prints_nothing_that_a_terminal_acts_on(trimtab, evil_reward, place, tmp_path, more):
    data = tmp_path / f"evil{EVIL.strip()}.jsonl"
    rows = [{"text": f"w1 {EVIL}", "label": 1}, {"text": "w31", "label": 0}, {"text": "", "label": EVIL}]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["rewind", "calibrate", "--data", data, "--model", place / "lm", "--judge", f"{evil_reward}=+1", *more]
    check(trimtab(*words))


@pytest.mark.parametrize(
    "words",
    [
        ["score", "--reward", EVIL, "--text", "w1"],
        ["score", "--reward", "sentiment", "--input", EVIL],
        ["score", "--reward", f"sentiment:{EVIL}", "--text", "w1"],
        ["rewind", "w1", "--judge", EVIL],
        ["rewind", "w1", "--judge", f"self:{EVIL}"],
        ["rewind", "w1", "--steer", EVIL],
        ["rewind", "w1", "--model", EVIL],
        ["rewind", "w1", "--html", f"/dev/null/{EVIL}"],
        ["rewind", "calibrate", "--data", EVIL, "--judge", "vader=+1"],
        ["rewind", f"calibrate{EVIL[:2]}"],
    ],
)
def test_errors_print_nothing_that_a_terminal_acts_on(trimtab, words):
    done = check(trimtab(*words, check=False))
    assert done.status == 1
    assert done.stderr.startswith("trimtab: ")
    assert done.stderr.count("\n") == 1
