"""`trimtab rewind` on a tiny language model, judged by a reward."""

import contextlib
import errno
import functools
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from trimtab.errors import ModelNotFound

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


@pytest.mark.parametrize("prompt", ["w1 :key: w2", "w1\tw2"])
def test_the_prompt_is_printed_with_its_tabs_and_colons(rewind, prompt):
    (row,) = json_lines(rewind(prompt, "--json").stdout)
    assert rewind(prompt).stdout == prompt + row["text"] + "\n"


def test_the_text_of_a_conversation_stands_on_a_line_of_its_own(rewind, chat_model):
    words = ["w1 w2", "--model", chat_model, "--chat"]
    (row,) = json_lines(rewind(*words, "--json").stdout)
    assert rewind(*words).stdout == f"w1 w2\n{row['text']}\n"


def test_unit_tests_judge_whole_drafts(trimtab, place, tmp_path):
    """Words are names that no program defines, so every draft ends in an error, and none is taken."""
    (tmp_path / "tests.py").write_text("assert w1 == 1")
    words = ["rewind", "w1", "--model", place / "lm", "--judge", f"tests:{tmp_path / 'tests.py'}", *QUICK, "--json"]
    (row,) = json_lines(trimtab(*words, "--whole-drafts").stdout)
    assert {round(branch["score"], 2) for branch in row["commits"][0]["branches"]} <= {-1.0, -0.6}
    done = trimtab(*words, check=False)
    assert done.status == 1
    assert "the judge 'tests' judges finished texts; write whole drafts: --whole-drafts" in done.stderr


def test_rewind_without_a_subcommand_searches(trimtab, place, rewind, teacher):
    search = ["rewind", "search", "w1 w2", "--model", place / "lm", "--judge", f"{teacher}=+1", *QUICK]
    assert trimtab(*search).stdout == rewind("w1 w2").stdout


def test_several_prompts_are_printed_in_order(rewind):
    lines = rewind("w1 w2", "w3").stdout.rstrip().split("\n")
    assert [line[:2] for line in lines] == ["w1", "w3"]


def test_a_steer_changes_the_search(rewind, teacher):
    assert rewind("w1 w2").stdout != rewind("w1 w2", "--steer", f"{teacher}=-60").stdout


@pytest.mark.long
def test_an_interrupted_file_resumes_with_the_same_rows(rewind, tmp_path):
    source, target = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"prompt": text}) for text in ("w1", "w2 w3", "w4")]
    source.write_text("\n".join([*lines, '{"prompt": 3}']) + "\n", encoding="utf-8")
    files = ["--input", source, "--output", target, "--batch-size", 1]
    done = rewind(*files, check=False)
    assert done.status == 1
    assert "1 line skipped" in done.stderr

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
    rewind(*files, "--top-k", 9, "--force", check=False)
    assert {row["provenance"]["job"]["settings"]["top_k"] for row in rows()} == {9}


def test_the_text_of_a_search_is_shown_though_the_page_cannot_be_written(rewind, tmp_path, monkeypatch):
    def full(results, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("trimtab.rewind.page.write_page", full)
    done = rewind("w1 w2", "--html", tmp_path / "page.html", check=False)
    assert (done.status, done.stdout) == (1, rewind("w1 w2").stdout)
    assert "free some space" in done.stderr


def test_an_output_file_excludes_other_outputs(rewind, tmp_path):
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    for option in (["--show-tree"], ["--json"], ["--stats"], ["--html", tmp_path / "page.html"]):
        done = rewind("--input", source, "--output", tmp_path / "out.jsonl", *option, check=False)
        assert done.status == 1
        assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.slow
def test_the_model_itself_or_a_classifier_may_judge(trimtab):
    (row,) = json_lines(trimtab("rewind", "The film was", *QUICK, "--judge", "self:sentiment", "--json").stdout)
    assert len(row["token_ids"]) == 4
    shown = trimtab("rewind", "The film was", "The play was", *QUICK, "--judge", "vader=+1").stdout.split("\n")
    assert [line[:12] for line in shown] == ["The film was", "The play was", ""]


@pytest.fixture
def no_weights(monkeypatch):
    """Fail where the weights of a language model load."""

    def load(*args, **options):
        raise ModelNotFound("weights loaded")

    monkeypatch.setattr("trimtab.models.loading._load_weights", load)


def test_json_says_what_made_the_text(rewind, teacher, place):
    (row,) = json_lines(rewind("w1 w2", "--steer", f"{teacher}=+2", "--stop", "w9", "--json").stdout)
    record, card = row["provenance"], json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    assert record["base_fingerprint"] == card["base_fingerprint"]
    (term,) = record["steer"]
    assert (term["direction"], term["beta"]) == ("toward", 2.0)
    assert term["fingerprint"] in record["judge"]["rewards"]
    assert (record["search"]["iterations"], record["seed"], record["stop"]) == (4, 0, ["w9"])
    assert {"trimtab", "torch", "transformers", "dtype", "device", "similarity"} <= record.keys()


def test_the_page_says_what_made_the_text(rewind, tmp_path):
    page = tmp_path / "page.html"
    rewind("w1 w2", "--html", page)
    (row,) = json_lines(rewind("w1 w2", "--json").stdout)
    html = page.read_text(encoding="utf-8")
    assert "How this was made" in html
    for part in (row["provenance"]["weights_fingerprint"], row["provenance"]["torch"], "max new tokens 4"):
        assert part in html


def test_a_page_is_replaced_only_if_asked_and_through_a_link(rewind, tmp_path):
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    page.write_text("mine", encoding="utf-8")
    link.symlink_to(page)
    done = rewind("w1", "--html", page, check=False)
    assert (done.status, "--force" in done.stderr, page.read_text(encoding="utf-8")) == (1, True, "mine")
    rewind("w1", "--html", link, "--force")
    assert link.is_symlink()
    assert "How this was made" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null", ".", "file/page.html", "x" * 300 + ".html"])
def test_a_page_that_cannot_be_written_is_refused_before_weights(rewind, no_weights, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = rewind("w1", "--html", path, "--force", check=False)
    assert done.status == 1
    assert done.stderr.startswith("trimtab: got --html")
    assert os.path.exists("/dev/full")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["w1", "--iterations", 0], "iterations"),
        (["w1", "--top-k", 65], "--top-k 65, expected at most the vocabulary size, 64"),
        (["w1", "--min-value", "nan"], "--min-value nan"),
        (["w1", "--max-seconds", "nan"], "--max-seconds nan"),
        (["w1", "--judge", "nonsense"], "judge"),
        (["w1", "--judge", "toxicty=-1"], "did you mean toxicity=-1"),
        (["w1", "--judge", "self:nonsense"], "question"),
        (["w1", "--steer", "sentiment"], "steer"),
        (["w1", "--steer", "sentiment=+5"], "tokenizer"),
        (["w1", "--judge", "sentiment=+1"], "tokenizer"),
        (["w1", "--judge", "self", "--judge-chat"], "chat template"),
        (["w1", "--method", "nonsense"], "method"),
        (["w1", "--method", "arm"], "--method without --steer"),
        (["w1", "--max-kl", "0.1"], "--max-kl without --steer"),
        (["w1", "--speculate", "lookup", "--engine", "vllm"], "--speculate 'lookup' with engine='vllm'"),
        (["w1", "--judge", "toxicity=-1", "--judge-soft"], "--judge-soft with --judge 'toxicity=-1'"),
        (["w1", "--judge", "lines:min:toxicity=-1", "--judge-chat"], "--judge-chat with --judge"),
        (["w1", "--judge-alone"], "--judge-alone with --judge 'self'"),
        (["w1", "--judge", "self:sentiment", "--judge-alone"], "--judge-alone with --judge 'self:sentiment'"),
        (["w1", "--judge", "vader=+1", "--judge-alone"], "--judge-alone with --judge 'vader=+1'"),
        (["w1", "--chat"], "chat template"),
        (["w1 " * 3000], "context"),
        ([""], "empty"),
        ([], "no prompts"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_weights(trimtab, place, no_weights, words, expected):
    done = trimtab("rewind", "search", *words, "--model", place / "lm", check=False)
    assert done.status == 1
    assert expected in done.stderr.replace("trimtab: Warning", "")
    assert "weights loaded" not in done.stderr


@pytest.mark.parametrize("word", ["calibrat", "calibrte", "serch"])
def test_a_mistyped_sub_command_is_not_a_prompt(trimtab, word):
    done = trimtab("rewind", word, check=False)
    assert done.status == 1
    assert f"got '{word}', did you mean `trimtab rewind {'search' if word == 'serch' else 'calibrate'}`?" in done.stderr
    done = trimtab("rewind", word, "--data", "texts.jsonl", check=False)
    assert "did you mean" in done.stderr


def test_words_near_a_sub_command_are_prompts_if_they_are_sentences_or_one_of_several(trimtab, place):
    model = ["--model", place / "nowhere"]
    for words in (["calibrate the scale"], ["calibrat", "w1"], ["search", "calibrat"]):
        done = trimtab("rewind", *words, *model, check=False)
        assert "did you mean" not in done.stderr
        assert "nowhere" in done.stderr


@pytest.mark.slow
def test_the_default_judge_is_warned_of_and_a_chosen_one_is_not(trimtab, no_weights):
    """Only the tokenizer of the embedded model loads."""
    warning, refusal = trimtab("rewind", "Hello", check=False).stderr.split("trimtab: ")
    assert refusal == "weights loaded\n"
    assert warning.startswith("Warning: smollm2 judges its own drafts, at the level of chance")
    assert "--judge toxicity=-1" in warning.replace("\n", " ")
    for judge in ("self", "toxicity=-1", "vader=+1"):
        assert trimtab("rewind", "Hello", "--judge", judge, check=False).stderr == "trimtab: weights loaded\n"


@pytest.mark.slow
def test_a_prompt_that_fills_the_context_of_a_self_judge_is_refused_before_weights(trimtab, no_weights, tmp_path):
    question = tmp_path / "long.toml"
    options = '[[options]]\ntext = "good"\nscore = 1.0\n[[options]]\ntext = "bad"\nscore = 0.0\n'
    for words, expected in ((7, "weights loaded"), (9000, "which fills the context")):
        text = f'instruction = "{"very " * words}"\nlayout = "{{text}}"\nask = "Good?"\n{options}'
        question.write_text(text, encoding="utf-8")
        assert expected in trimtab("rewind", "Hello", "--judge", f"self:{question}", check=False).stderr


def test_a_tree_in_json_is_refused(rewind):
    done = rewind("w1", "--json", "--show-tree", check=False)
    assert done.status == 1
    assert "got --json and --show-tree" in done.stderr


@pytest.mark.parametrize("fault", ["similarity", "judge", "steer"])
def test_what_cannot_be_loaded_beside_the_model_is_refused_before_its_weights(
    trimtab, place, teacher, tmp_path, monkeypatch, fault
):
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *given, **more: pytest.fail("weights loaded"))
    damaged = tmp_path / "damaged"
    shutil.copytree(teacher, damaged)
    with (damaged / "reward.safetensors").open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"\x7f")
    words = {
        "similarity": ["--similarity", tmp_path, "--judge", f"{teacher}=+1"],
        "judge": ["--judge", f"{damaged}=+1"],
        "steer": ["--judge", f"{teacher}=+1", "--steer", f"{damaged}=2"],
    }
    done = trimtab("rewind", "--model", place / "lm", *words[fault], "w1", check=False)
    assert done.status == 1
    assert ("similarity" if fault == "similarity" else "is damaged") in done.stderr
