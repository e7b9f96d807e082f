"""`trimtab rewind` on a tiny language model, judged by a reward."""

import contextlib
import functools
import json
import os
import pty
import signal
import subprocess
import sys
import threading

import pytest

QUICK = ["--iterations", "4", "--fresh-iterations", "2", "--max-new-tokens", "4", "--seed", "0", "--draft-tokens", "4"]


@pytest.fixture
def rewind(trimtab, place, teacher):
    """Return a function that runs `trimtab rewind` on the tiny language model with the tiny reward as judge."""
    words = ["rewind", "--model", place / "lm", "--judge", f"{teacher}=+1", *QUICK]
    return lambda *more, check=True: trimtab(*words, *more, check=check)


def json_lines(text):
    return [json.loads(line) for line in text.strip().split("\n")]


def test_json_holds_the_text_and_every_branch(rewind):
    (row,) = json_lines(rewind("w1 w2", "--json").stdout)
    keys = {"prompt", "text", "token_ids", "finish_reason", "iterations", "taken_back", "commits"}
    assert row.keys() >= keys
    assert (row["prompt"], row["finish_reason"], len(row["token_ids"])) == ("w1 w2", "length", 4)
    committed = "".join(commit["text"] for commit in row["commits"])
    assert committed.replace(" ", "") == row["text"].replace(" ", "")
    assert row["commits"][0]["branches"][0].keys() >= {"text", "prior", "visits", "value", "draft", "score", "kept"}


def test_tree_page_and_costs_show_the_same_search(rewind, tmp_path):
    (row,) = json_lines(rewind("w1 w2", "--json").stdout)
    page = tmp_path / "search.html"
    shown = rewind("w1 w2", "--show-tree", "--stats", "--html", page)
    html = page.read_text(encoding="utf-8")
    for branch in row["commits"][0]["branches"]:
        assert branch["text"].strip() in shown.stdout
        assert branch["text"].strip() in html
    assert f"{row['iterations']} iterations, {row['taken_back']} draft" in shown.stderr
    assert "tokens encoded" in shown.stderr
    assert shown.stdout.rstrip().endswith(row["text"])


def test_rewind_without_a_subcommand_searches(trimtab, place, rewind, teacher):
    search = ["rewind", "search", "w1 w2", "--model", place / "lm", "--judge", f"{teacher}=+1", *QUICK]
    assert trimtab(*search).stdout == rewind("w1 w2").stdout


def test_several_prompts_are_printed_in_order(rewind):
    lines = rewind("w1 w2", "w3").stdout.rstrip().split("\n")
    assert [line[:2] for line in lines] == ["w1", "w3"]


def test_a_steer_changes_the_search(rewind, teacher):
    assert rewind("w1 w2").stdout != rewind("w1 w2", "--steer", f"{teacher}=-60").stdout


def test_an_interrupted_file_resumes_with_the_same_rows(rewind, tmp_path):
    source, target = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"prompt": text}) for text in ("w1", "w2 w3", "w4")]
    source.write_text("\n".join([*lines, '{"prompt": 3}']) + "\n", encoding="utf-8")
    files = ["--input", source, "--output", target, "--batch-size", 1]
    done = rewind(*files, check=False)
    assert done.status == 1
    assert "1 lines skipped" in done.stderr

    def rows():
        found = json_lines(target.read_text(encoding="utf-8"))
        for row in found:
            del row["call"]["seconds"]
        return found

    whole = rows()
    assert [row["prompt"] for row in whole] == ["w1", "w2 w3", "w4"]
    first = target.read_text(encoding="utf-8").split("\n")[0]
    target.write_text(first + '\n{"prompt": "w', encoding="utf-8")  # killed while it wrote the second row
    rewind(*files, check=False)
    assert rows() == whole
    done = rewind(*files, "--top-k", 9, check=False)
    assert (done.status, "other settings" in done.stderr) == (1, True)


def test_an_output_file_excludes_other_outputs(rewind, tmp_path):
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    for option in (["--show-tree"], ["--json"], ["--stats"], ["--html", tmp_path / "page.html"]):
        done = rewind("--input", source, "--output", tmp_path / "out.jsonl", *option, check=False)
        assert done.status == 1
        assert not (tmp_path / "out.jsonl").exists()


def test_ctrl_c_ends_a_search_with_the_best_draft(place, teacher):
    """The command runs on a terminal and is interrupted once it shows progress."""
    terminal, child_end = pty.openpty()
    endless = ["--iterations", "1000000", "--min-visits", "1000000", "--seed", "0"]
    command = [sys.executable, "-m", "trimtab", "rewind", "w1 w2", "--model", place / "lm", *endless]
    command += ["--judge", f"{teacher}=+1"]
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs may ignore SIGINT
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child_end, text=True, preexec_fn=default)
    os.close(child_end)
    timeout = threading.Timer(120, running.kill)
    timeout.start()
    shown, interrupted = b"", False
    with contextlib.suppress(OSError):  # the child closed its end
        while more := os.read(terminal, 4096):
            shown += more
            if not interrupted and b"tokens encoded per second" in shown:
                os.kill(running.pid, signal.SIGINT)
                interrupted = True
    printed, _ = running.communicate()
    timeout.cancel()
    os.close(terminal)
    assert running.returncode == 0
    assert b"ended by: interrupted" in shown
    assert len(printed.strip()) > len("w1 w2")


@pytest.mark.slow
def test_the_model_itself_or_a_classifier_may_judge(trimtab):
    (row,) = json_lines(trimtab("rewind", "The film was", *QUICK, "--judge", "self:sentiment", "--json").stdout)
    assert len(row["token_ids"]) == 4
    shown = trimtab("rewind", "The film was", "The play was", *QUICK, "--judge", "vader=+1").stdout.split("\n")
    assert [line[:12] for line in shown] == ["The film was", "The play was", ""]
