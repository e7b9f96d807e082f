"""`trimtab rewind` on the embedded model: what it prints and writes, stopped and gone on with, and its mistakes."""

import contextlib
import functools
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
QUICK = ["--iterations", "4", "--fresh-iterations", "2", "--max-new-tokens", "4", "--seed", "0", "--draft-tokens", "4"]


def trimtab(*arguments, check=True):
    done = subprocess.run([BIN / "trimtab", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_help_teaches():
    for arguments in (["rewind", "--help"], ["rewind", "search", "--help"], ["rewind", "calibrate", "--help"]):
        shown = " ".join(trimtab(*arguments).stdout.split())
        assert "--judge" in shown
        assert "Example: trimtab rewind" in shown
    panels = trimtab("rewind", "search", "--help").stdout
    assert panels.index("Options") < panels.index("│ --judge ") < panels.index("How it searches")
    assert panels.index("How it searches") < panels.index("--exploration") < panels.index("What it may cost")
    assert "rewind" in trimtab("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "got no prompts"),
        ([""], "got an empty prompt"),
        (["--input", "none.jsonl", "--output", "y.jsonl"], "no such file"),
        (["Hi", "--judge", "toxicity"], "toxicity=-1"),
        (["Hi", "--judge", "toxicity=-3"], "toxicity=-1"),
        (["Hi", "--judge", "toxicty=-1"], "did you mean toxicity=-1"),
        (["Hi", "--judge", "self:sentimnt"], "sentiment"),
        (["Hi", "--input", "x.jsonl"], "--output"),
        (["--input", __file__, "--output", "y.jsonl", "--show-tree"], "--show-tree"),
        (["Hi", "--steer", "toxicity"], "NAME=+BETA"),
        (["Hi", "--iterations", "0"], "iterations=0"),
        (["Hi", "--max-seconds", "0"], "max_seconds"),
        (["calibrate", "--data", "x.jsonl", "--judge", "nobody"], "toxicity=-1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_1(arguments, expected):
    done = trimtab("rewind", *arguments, check=False)
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    assert done.stdout == ""


@pytest.mark.slow
def test_a_search_with_everything_it_can_show(tmp_path):
    page = tmp_path / "search.html"
    options = [*QUICK, "--judge", "toxicity=-1", "--steer", "sentiment=+5"]
    shown = trimtab("rewind", "The new neighbours are", *options, "--show-tree", "--stats", "--html", page)
    row = json.loads(trimtab("rewind", "The new neighbours are", *options, "--json").stdout)
    assert "visit" in shown.stdout
    assert row["commits"][0]["text"] in shown.stdout
    assert f"{row['iterations']} iterations" in shown.stderr
    assert "tokens encoded" in shown.stderr
    assert "toxicity=-1" in page.read_text(encoding="utf-8")
    assert all(branch["text"].strip() in page.read_text(encoding="utf-8") for branch in row["commits"][0]["branches"])


@pytest.mark.slow
def test_the_model_itself_or_a_classifier_may_judge():
    asked = trimtab("rewind", "The film was", *QUICK, "--judge", "self:sentiment", "--json")
    assert len(json.loads(asked.stdout)["token_ids"]) == 4
    shown = trimtab("rewind", "The film was", "The play was", *QUICK, "--judge", "vader=+1").stdout.split("\n")
    assert [line[:12] for line in shown] == ["The film was", "The play was", ""]


@pytest.mark.slow
def test_a_stopped_file_goes_on(tmp_path):
    """Killed after its first batch, then given again: the same bytes as uninterrupted, and no other settings."""
    source, whole, cut = (tmp_path / name for name in ("prompts.jsonl", "whole.jsonl", "cut.jsonl"))
    prompts = ["The weather is", "My dog", "She said that", "On Monday"]
    source.write_text(
        "\n".join(json.dumps({"prompt": text}) for text in prompts) + '\n{"prompt": 3}\n', encoding="utf-8"
    )
    command = [BIN / "trimtab", "rewind", *QUICK, "--judge", "toxicity=-1", "--batch-size", "1", "--input", source]
    done = subprocess.run([*command, "--output", whole], capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 lines skipped" in done.stderr
    running = subprocess.Popen([*command, "--output", cut], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not cut.exists() or not cut.stat().st_size:
        time.sleep(0.05)
        assert running.poll() is None
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    subprocess.run([*command, "--output", cut], capture_output=True)
    rows = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").rstrip().split("\n")] for path in (whole, cut)
    ]
    for one in (row for of_file in rows for row in of_file):
        del one["call"]["seconds"]
    assert rows[0] == rows[1]
    assert [row["prompt"] for row in rows[0]] == prompts
    done = subprocess.run([*command, "--output", whole, "--top-k", "9"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "other settings" in done.stderr


@pytest.mark.slow
def test_ctrl_c_answers_with_the_best_draft():
    """Interrupted on a terminal, once drafts have been judged."""
    terminal, its_end = pty.openpty()
    endless = ["--iterations", "100000", "--enough-visits", "100000", "--judge", "toxicity=-1", "--seed", "0"]
    command = [BIN / "trimtab", "rewind", "The new neighbours are", *endless]
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background may ignore it
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=its_end, text=True, preexec_fn=heed)
    os.close(its_end)
    overdue = threading.Timer(240, running.kill)
    overdue.start()
    shown = b""
    with contextlib.suppress(OSError):  # its end is closed
        while more := os.read(terminal, 4096):
            interrupted = b"tokens encoded a second" in shown
            shown += more
            if not interrupted and b"tokens encoded a second" in shown:
                os.kill(running.pid, signal.SIGINT)
    printed, _ = running.communicate()
    overdue.cancel()
    os.close(terminal)
    assert running.returncode == 0
    assert b"ended by: interrupted" in shown
    assert len(printed.strip()) > len("The new neighbours are")


@pytest.mark.slow
def test_a_judge_is_calibrated(tmp_path):
    texts, pairs = tmp_path / "texts.jsonl", tmp_path / "pairs.jsonl"
    good = ["What a lovely day.", "Thank you so much, my friend."]
    bad = ["You stupid idiot, go to hell.", "Shut up, you filthy moron."]
    rows = [{"text": text, "verdict": "fine"} for text in good] + [{"text": text, "verdict": "rude"} for text in bad]
    texts.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    row = {"chosen": "Human: Hi\n\nAssistant: Hello, friend.", "rejected": "Human: Hi\n\nAssistant: Die, idiot."}
    pairs.write_text("\n".join(map(json.dumps, [row] * 3)), encoding="utf-8")
    arguments = ["--data", texts, "--column", "verdict", "--good", "fine", "--json"]
    found = json.loads(trimtab("rewind", "calibrate", *arguments, "--judge", "toxicity=-1", "--judge-alone").stdout)
    assert (found["asked"], found["accuracy"], found["near_chance"]) == (4, 1.0, True)  # four are not enough
    arguments_of_pairs = ["--data", pairs, "--pairs", "--judge", "toxicity=+1"]  # the wrong way round
    done = trimtab("rewind", "calibrate", *arguments_of_pairs, "--turn", "Assistant:")
    assert "accuracy 0.0%" in done.stdout
    assert "near chance" in done.stderr
    done = trimtab("rewind", "calibrate", *arguments_of_pairs, "--turn", "Bot:", check=False)
    assert "no 'Bot:' in it" in done.stderr
    assert "Traceback" not in done.stderr
    hard, soft = map(json.loads, trimtab("rewind", "calibrate", *arguments, "--judge", "self").stdout.splitlines())
    assert (hard["judge"], soft["judge"]) == ("self:harmlessness", "self:harmlessness, soft")
