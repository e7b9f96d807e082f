"""`trimtab generate`."""

import io
import json
import os
import shutil
import threading

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


@pytest.mark.parametrize("prompt", ["w1 :key: [b] w2", "w1\tw2", "w1 w2\n:100:\tw3"])
@pytest.mark.parametrize("shown", ["text", "rewards", "stream"])
def test_stdout_is_the_text_with_its_tabs_and_colons(generate, teacher, prompt, shown):
    words = [prompt, "--steer", f"{teacher}=+5"]
    (row,) = json_lines(generate(*words, "--json").stdout)
    done = generate(*words, *{"text": [], "rewards": ["--show-rewards"], "stream": ["--stream"]}[shown])
    assert done.stdout.startswith(prompt + row["text"] + "\n")


@pytest.mark.parametrize("more", [[], ["--show-rewards"], ["--stream"]])
def test_the_text_of_a_conversation_stands_on_a_line_of_its_own(generate, chat_model, teacher, more):
    words = ["w1 w2", "--model", chat_model, "--chat", "--steer", f"{teacher}=+5"]
    (row,) = json_lines(generate(*words, "--json").stdout)
    assert generate(*words, *more).stdout.startswith(f"w1 w2\n{row['text']}\n")


def test_show_rewards_ends_the_text_before_its_stop_string(generate, teacher):
    words = ["w1 w2", "--steer", f"{teacher}=+5"]
    (whole,) = json_lines(generate(*words, "--json").stdout)
    stop = ["--stop", whole["text"].split()[2][:2]]
    (cut,) = json_lines(generate(*words, *stop, "--json").stdout)
    assert "".join(cut["tokens"]) != cut["text"]
    shown = generate(*words, *stop, "--show-rewards").stdout.split("\n")
    assert shown[0] == "w1 w2" + cut["text"]
    assert len(shown) == 1 + 1 + len(cut["tokens"]) + 2  # the text, the heads, the tokens, the mean, and the line's end


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
    assert f"{sum(rewards) / len(rewards):.4f}" in shown.strip().split("\n")[-1]


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


def test_an_output_of_another_origin_or_of_other_settings_is_replaced_by_force_only(generate, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "w1 w2"}\n', encoding="utf-8")
    target.write_text("mine\n", encoding="utf-8")
    files = ["--input", source, "--output", target]
    done = generate(*files, check=False)
    assert (done.status, "--force" in done.stderr, target.read_text(encoding="utf-8")) == (1, True, "mine\n")
    generate(*files, "--force")
    done = generate(*files, "--top-k", 3, check=False)
    assert (done.status, "other settings" in done.stderr, "--force" in done.stderr) == (1, True, True)
    generate(*files, "--top-k", 3, "--force")
    (row,) = json_lines(target.read_text(encoding="utf-8"))
    assert row["text"] == json_lines(generate("w1 w2", "--top-k", 3, "--json").stdout)[0]["text"]


def test_an_output_that_cannot_be_written_is_named(generate, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    done = generate("--input", source, "--output", source / "out.jsonl", check=False)
    assert done.status == 1
    assert "in.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_a_system_message_changes_the_answer_of_a_chat(trimtab):
    words = ["generate", "Who are you?", *OPTIONS, "--json", "--chat"]
    chat, pirate = (
        json_lines(trimtab(*words, *more).stdout)[0]["text"] for more in ([], ["--system", "You are a pirate."])
    )
    assert chat != pirate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name"),
    [("arm", "sentiment:positive"), pytest.param("rad", "sentiment-rad:positive", marks=pytest.mark.long)],
)
def test_the_bundled_rewards_steer_by_either_method(trimtab, method, name):
    words = ["generate", "The food was", *OPTIONS, "--steer", "sentiment=+20", "--method", method, "--json"]
    (row,) = json_lines(trimtab(*words).stdout)
    assert list(row["rewards"]) == [name]
    assert "".join(row["tokens"]) == row["text"]


def test_standard_input_and_output_take_and_give_json_lines(generate, tmp_path, monkeypatch):
    lines = '{"prompt": "w1 w2"}\n{"prompt": "w3"}\n'
    (tmp_path / "in.jsonl").write_text(lines, encoding="utf-8")
    generate("--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    done = generate("--input", "-", "--output", "-")
    assert done.stdout == (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_a_pipe_is_read_as_a_file_is(generate, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"prompt": "w1 w2"}\n',))
    writer.start()
    generate("--input", pipe, "--output", tmp_path / "out.jsonl")
    writer.join()
    (row,) = json_lines((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert row["text"] == json_lines(generate("w1 w2", "--json").stdout)[0]["text"]


def test_the_input_is_never_replaced_by_the_output(generate, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    done = generate("--input", source, "--output", source, check=False)
    assert (done.status, source.read_text(encoding="utf-8")) == (1, '{"prompt": "w1"}\n')
    assert "expected another file than the input" in done.stderr


def test_rows_say_what_made_them_and_the_trace_is_optional(generate, teacher):
    words = ["w1 w2", "--steer", f"{teacher}=+5", "--json"]
    (plain,), (traced,) = (json_lines(generate(*words, *more).stdout) for more in ([], ["--trace"]))
    made_by = plain["provenance"]
    assert made_by["steer"][0]["source"] == str(teacher)
    assert len(made_by["steer"][0]["fingerprint"]) == 16
    assert made_by["sampling"]["seed"] == 1
    assert "trace" not in plain
    assert [len(token["candidates"]) for token in traced.pop("trace")] == [20] * 8
    jobs = [row["provenance"].pop("job") for row in (plain, traced)]
    assert [job.pop("trace") for job in jobs] == [False, True]
    assert (traced, jobs[1]) == (plain, jobs[0])


def test_the_trace_is_printed_as_a_table(generate):
    shown = generate("w1 w2", "--trace").stdout.strip().split("\n")
    assert len(shown) == 1 + 8
    assert all(" over " in line for line in shown[1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["w1", "--show-rewards"], "--show-rewards without --steer"),
        (["w1", "--steer", "sentiment=+20", "--top-k", "1"], "got --top-k 1 with --steer"),
        (
            ["w1", "--steer", "{teacher}=+2", "--top-p", "1e-9"],
            "got --top-p 1e-09, expected more than 1 / 64 with a steer",
        ),
        (["w1", "--steer", "{teacher}=+2", "--steer", "{teacher}=-2"], "which cancel each other"),
        (["w1", "--stream", "--trace"], "got --stream"),
        (["w1", "--steer", "{teacher}=+2", "--show-rewards", "--json"], "got --show-rewards, expected"),
        (
            ["--input", "-", "--output", "-", "--steer", "{teacher}=+2", "--show-rewards"],
            "got --show-rewards, expected",
        ),
        (["w1", "--steer", "sentimnt=+2"], "sentimnt"),
        (["w1", "--steer", "{teacher}:nothing=+2"], "nothing"),
        (["w1", "--steer", "{teacher}=+2", "--method", "arm"], "expected 'rad'"),
        (["w1", "--top-k", "65"], "vocabulary"),
        (["w1", "--steer", "{teacher}=+2", "--top-k", "0"], "runs every candidate"),
        (["w1", "--chat"], "no chat template"),
        (["w1 " * 70], "tokens"),
        ([""], "empty prompt"),
        (["--input", "none.jsonl", "--output", "out.jsonl"], "no such file"),
        (["--input", "{teacher}", "--output", "-"], "it is a folder"),
        (["w1", "--input", "-", "--output", "-"], "expected one of them"),
        (["--input", "-"], "expected both or neither"),
        (["--input", "-", "--output", "/dev/full"], "regular file"),
        (["--input", "-", "--output", "-", "--batch-size", "0"], "--batch-size 0"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_weights_load(generate, teacher, monkeypatch, words, message):
    def load(*given, **named):
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr("trimtab.models.loading._load_weights", load)
    done = generate(*[word.replace("{teacher}", str(teacher)) for word in words], check=False)
    assert done.status == 1
    assert message in done.stderr
    assert done.stderr.startswith("trimtab: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "prompts", "message"),
    [
        ('{"line": true, "sample": 0}\n', '{"prompt": "w1"}\n', "is damaged: line 1: 'line' is True"),
        ("", '{"prompt": "w2"}\n', "answers other prompts"),
    ],
)
def test_rows_that_cannot_be_resumed_are_refused_before_the_weights_load(
    generate, tmp_path, monkeypatch, rows, prompts, message
):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "w1"}\n', encoding="utf-8")
    files = ["--input", source, "--output", target]
    generate(*files)
    whole = rows + target.read_text(encoding="utf-8") + '{"line": '  # and a torn line, which is no fault
    target.write_text(whole, encoding="utf-8")
    source.write_text(prompts, encoding="utf-8")
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *given: pytest.fail("the weights were loaded"))
    done = generate(*files, check=False)
    assert (done.status, target.read_text(encoding="utf-8")) == (1, whole)
    assert message in done.stderr


def test_only_the_first_bad_lines_are_printed(generate, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "w1"}\n' + "broken\n" * 30, encoding="utf-8")
    done = generate("--input", source, "--output", tmp_path / "out.jsonl", check=False)
    assert "30 lines skipped" in done.stderr
    assert done.stderr.count("not JSON") == 5


def test_escape_codes_of_a_prompt_do_not_reach_the_terminal(generate):
    shown = generate("w1 \x1b[31m w2").stdout
    assert "\x1b" not in shown
    assert "<U+001B>" in shown


def test_settings_in_rows_of_prompts_are_named_because_nothing_reads_them(generate, tmp_path):
    row = {"prompt": "w1", "temperature": 0, "seed": 5, "system": "be kind", "id": 7}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    done = generate("--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    assert "note: seed, system, temperature in rows of --input: not read" in done.stderr


def test_language_models_steer_by_name(generate, place, tmp_path):
    """Two equal experts would change nothing, and are refused; one alone changes a text, and the trace names it."""
    words = ["w1 w2", "--json"]
    shutil.copytree(place / "lm", tmp_path / "lm")
    (plain,) = json_lines(generate(*words).stdout)
    (alone,) = json_lines(generate(*words, "--steer", f"experts:,{place / 'lm'}=+0.9").stdout)
    assert plain["text"] != alone["text"]
    assert set(alone["rewards"]) == {"experts(,lm):expert"}
    done = generate(*words, "--steer", f"experts:{place / 'lm'},{tmp_path / 'lm'}=2", check=False)
    assert done.status == 1
    assert "expected two of different weights" in done.stderr


@pytest.mark.parametrize(
    ("steer", "message"),
    [
        ("experts:=2", "expected experts:EXPERT,ANTI"),
        ("experts:{teacher},{teacher}=2", "expected two models"),
        ("experts:nowhere=2", "cannot load a language model from 'nowhere'"),
        ("experts:{teacher}=2", "with a 'v' head as an expert"),
    ],
)
def test_experts_that_cannot_steer_are_refused(generate, teacher, steer, message):
    refused = generate("w1", "--steer", steer.format(teacher=teacher), check=False)
    assert refused.status == 1
    assert message in " ".join(refused.stderr.split())


def test_best_of_keeps_the_best_drafts_of_one_reward(generate, teacher):
    drafts = json_lines(generate("w1 w2", "--n", 6, "--json").stdout)
    ranked = json_lines(generate("w1 w2", "--best-of", 6, "--by", f"{teacher}=+1", "--n", 2, "--json").stdout)
    assert [row["sample"] for row in ranked] == [0, 1]
    assert [row["text"] for row in ranked] == [drafts[row["draft"]]["text"] for row in ranked]
    assert ranked[0]["score"] >= ranked[1]["score"]
    (by,) = ranked[0]["provenance"]["by"]
    assert (by["attribute"], by["direction"], by["beta"]) == ("good", "toward", 1.0)
    (worst,) = json_lines(generate("w1 w2", "--best-of", 6, "--by", f"{teacher}=-1", "--json").stdout)
    assert -worst["score"] <= ranked[1]["score"]
    assert generate("w1 w2", "--best-of", 6, "--by", f"{teacher}=+1").stdout.strip().endswith(ranked[0]["text"].strip())


@pytest.mark.parametrize(
    "way", [("--block", 2), ("--halve-every", 2), ("--accept-at", 0.9, "--segment-entropy", 1, "--accept-softness", 0)]
)
def test_searches_of_prefixes_are_those_of_the_library(generate, place, teacher, way):
    from trimtab import Segments, load, reward

    lm = load(place / "lm")
    given = {
        "--block": {"block": 2},
        "--halve-every": {"halve_every": 2},
        "--accept-at": {"segments": Segments(0.9, 1.0, softness=0.0)},
    }[way[0]]
    expected = lm.best_of("w1 w2", 5, by=reward(teacher, lm), seed=1, max_new_tokens=8, **given)
    (row,) = json_lines(generate("w1 w2", "--best-of", 5, "--by", f"{teacher}=+1", *way, "--json").stdout)
    assert (row["text"], row["draft"]) == (expected.text, expected.drafts[0].sample)
    assert row["score"] == pytest.approx(expected.scores[0], abs=1e-5)


def test_a_file_of_best_drafts_resumes_and_replays(generate, trimtab, teacher, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "w1 w2"}\n{"prompt": "w3"}\n', encoding="utf-8")
    words = ["--input", source, "--output", target, "--batch-size", 1, "--best-of", 4, "--by", f"{teacher}=+1"]
    generate(*words, "--n", 2)
    whole = target.read_text(encoding="utf-8")
    target.write_text("".join(whole.splitlines(keepends=True)[:3]), encoding="utf-8")  # killed while it wrote
    generate(*words, "--n", 2)
    assert target.read_text(encoding="utf-8") == whole
    assert "4 the same" in trimtab("replay", target).stdout
    forged = [{**row, "score": row["score"] + 1} for row in json_lines(whole)]
    target.write_text("".join(json.dumps(row) + "\n" for row in forged), encoding="utf-8")
    assert "score" in trimtab("replay", target, check=False).stdout
    refused = generate(*words, "--n", 2, "--block", 2, check=False)
    assert "expected at most 1" in refused.stderr
    other = generate("--input", source, "--output", target, "--best-of", 5, "--by", f"{teacher}=+1", check=False)
    assert "was written with other settings" in other.stderr


@pytest.mark.parametrize("by", ["{teacher}=+1", "sentences:min:{teacher}=+1"])
def test_a_prompt_that_leaves_the_ranking_no_room_is_a_fault_of_its_line(generate, teacher, tmp_path, by):
    """The reward reads BOS before a prompt, so that one of 63 tokens fills its context, and not the model's."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    texts = ["w1 w2", " ".join(["w1"] * 63), "w3"]
    source.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts), encoding="utf-8")
    named = generate(
        "--input", source, "--output", target, "--best-of", 2, "--by", by.format(teacher=teacher), check=False
    )
    assert "1 line skipped" in named.stderr
    assert "line 2: got a prompt of 63 tokens, which fills the context" in " ".join(named.stderr.split())
    assert [row["line"] for row in json_lines(target.read_text(encoding="utf-8"))] == [1, 3]


def test_programs_are_repaired_by_their_tests(generate, tmp_path):
    tests = tmp_path / "tests.py"
    tests.write_text("assert False\n", encoding="utf-8")
    (row,) = json_lines(generate("w1", "--best-of", 2, "--by", f"tests:{tests}", "--repairs", 1, "--json").stdout)
    assert row["score"] < 1
    assert row["provenance"]["by"][0]["judge"] == "tests"
    assert row["draft"] in range(4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--best-of", 0, "--by", "{teacher}=+1"], "--best-of 0"),
        (["--best-of", 4], "got --best-of, expected --by with it"),
        (["--by", "{teacher}=+1"], "got --by, expected --best-of with it"),
        (["--block", 4], "expected --best-of and --by"),
        (["--best-of", 4, "--by", "{teacher}"], "got the judge"),
        (["--best-of", 4, "--by", "vader=+1", "--block", 4], "expected --by a reward"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--block", 4, "--halve-every", 4], "expected one of them"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--repairs", 1], "--by tests:FILE"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--n", 5], "expected at most 4"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--stream"], "--stream with --best-of"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--accept-at", "nan"], "--accept-at nan"),
        (["--best-of", 4, "--by", "{teacher}=+1", "--segment-entropy", 1], "expected --accept-at"),
        (["--best-of", 4, "--by", "nowhere=+1"], "nowhere"),
    ],
)
def test_best_of_options_that_do_not_fit_are_refused(generate, teacher, words, message):
    done = generate("w1", *(str(word).format(teacher=teacher) for word in words), check=False)
    assert done.status == 1
    assert message in done.stderr
