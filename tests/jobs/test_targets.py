import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tiny import tiny_reward
from tiny_job import JOB, json_rows, run_job, write_lines
from trimtab import errors
from trimtab.data.differences import differences
from trimtab.data.outputs import lock_path
from trimtab.engines.provenance import MACHINE
from trimtab.jobs.targets import FileTarget, StreamTarget, drawn_seed, open_target, settings_path

SETTINGS = {"job": {"kind": "generate", "model": "tiny"}}
PROMPTS = [{"prompt": "w1 w2"}, {"prompt": "w3"}]


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "in.jsonl", PROMPTS)


def test_a_resumed_file_never_mixes_two_rewards(lm, source, tmp_path):
    """The same name and settings, other weights: the first file stays as it is."""
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target, reward=tiny_reward(lm.base, "q", seed=0))
    target.write_text(target.read_text(encoding="utf-8").split("\n")[0] + "\n", encoding="utf-8")
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=r"other settings \(steer\[0\]\.fingerprint: "):
        run_job(lm, source, target, reward=tiny_reward(lm.base, "q", seed=1))
    assert target.read_bytes() == before


def test_a_row_that_says_that_another_steer_made_it_is_refused(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    first, *others = json_rows(target)
    first["provenance"]["steer"][0]["beta"] = 5.0
    write_lines(target, [first, *others[:-1]])
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=r"its settings did not make: line 1 \(steer\[0\]\.beta: 5.0 there"):
        run_job(lm, source, target)
    assert target.read_bytes() == before


def test_a_sample_that_stands_there_twice_is_refused_when_a_run_resumes(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    first, *_ = json_rows(target)
    write_lines(target, [first, {**first, "text": "edited"}])
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match="has sample 0 of line 1 more than once"):
        run_job(lm, source, target)
    assert target.read_bytes() == before


@pytest.mark.parametrize("how", ["emptied", "moved", "doubled"])
def test_a_file_that_something_else_changes_during_a_run_is_noticed(lm, source, tmp_path, monkeypatch, how):
    target, append = tmp_path / "out.jsonl", FileTarget.append

    def changing(file, rows):
        append(file, rows)
        if how == "doubled":
            append(file, rows)
        elif file.path.stat().st_size and rows[0]["line"] == 1:
            file.path.write_text("", encoding="utf-8") if how == "emptied" else file.path.rename(tmp_path / "moved")

    monkeypatch.setattr(FileTarget, "append", changing)
    expected = "more than once" if how == "doubled" else "lacks rows of 1 prompt: something else changed or moved it"
    with pytest.raises(errors.TrimtabError, match=expected):
        run_job(lm, source, target, batch_size=1)
    if how != "doubled":
        monkeypatch.undo()
        run_job(lm, source, target)
        assert {row["line"] for row in json_rows(target)} == {1, 2}


def set_in(record, path, value):
    *folders, name = path
    for folder in folders:
        record = record[folder]
    record[name] = value


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["provenance", "sampling", "seed"], 99, r"job\.sampling\.seed: 99 there, 3 here"),
        (["provenance", "sampling", "temperature"], 0.5, r"sampling\.temperature"),
        (["provenance", "job", "chat"], True, r"job\.chat"),
        (["provenance", "job", "steer"], ["toxicity=-1"], r"job\.steer"),
        (["provenance"], "model", "is damaged: line 1: 'provenance' is 'model'"),
        (["provenance"], None, "'provenance' is None"),
        (["provenance", "sampling"], None, "is damaged: line 1: "),
        (["provenance", "job"], 3, "is damaged: line 1: "),
    ],
)
def test_a_row_of_another_run_is_refused_when_a_run_resumes(lm, source, tmp_path, path, value, named):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    first, *others = json_rows(target)
    set_in(first, path, value)
    write_lines(target, [first, *others[:-1]])
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=named):
        run_job(lm, source, target)
    assert target.read_bytes() == before


def test_rows_without_the_hash_of_the_card_resume(lm, source, tmp_path):
    """Version 0.1 wrote them."""
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    for path in (target, settings_path(target)):
        older = re.sub(r'"card_fingerprint": "\w+",\s*', "", path.read_text(encoding="utf-8"))
        path.write_text(older, encoding="utf-8")
    rows = json_rows(target)
    write_lines(target, rows[:-1])
    run_job(lm, source, target)
    found = json_rows(target)
    assert found[:-2] == rows[:-2]
    assert [row["text"] for row in found] == [row["text"] for row in rows]


def test_the_message_names_the_setting_that_differs(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    other = replace(JOB, sampling=replace(JOB.sampling, seed=4))
    with pytest.raises(errors.InvalidData, match=r"\(job\.sampling\.seed: 3 there, 4 here\)"):
        run_job(lm, source, target, job=other)


def test_versions_and_device_alone_do_not_refuse_a_resume():
    there = {"trimtab": "0.1", "torch": "2.0", "device": "cuda:0", "base_fingerprint": "a"}
    assert differences(there, {**there, "trimtab": "0.2", "torch": "2.1", "device": "cpu"}, MACHINE) == ""
    assert differences(there, {**there, "base_fingerprint": "b"}, MACHINE) == "base_fingerprint: 'a' there, 'b' here"


HOLD = """
import sys
from trimtab.jobs.targets import FileTarget
from pathlib import Path
with FileTarget(Path(sys.argv[1])).claimed({"job": {"kind": "generate", "model": "tiny"}}):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.long
def test_a_second_process_on_one_file_is_refused(tmp_path):
    target = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", HOLD, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(errors.InvalidOutput, match="another process writes"),
            FileTarget(target).claimed(SETTINGS),
        ):
            pass
        holder.stdin.write("\n")
        holder.stdin.close()
    with FileTarget(target).claimed(SETTINGS):
        pass


def test_a_symbolic_link_is_followed_and_stays(lm, source, tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "real" / "texts.jsonl")
    run_job(lm, source, link)
    assert link.is_symlink()
    assert len(json_rows(tmp_path / "real" / "texts.jsonl")) == 4
    assert settings_path(tmp_path / "real" / "texts.jsonl").is_file()


@pytest.mark.parametrize("name", ["/dev/full", "folder", "in.jsonl", "in.jsonl/out.jsonl"])
def test_what_is_no_file_of_ours_is_refused_and_stays(source, tmp_path, name):
    (tmp_path / "folder").mkdir()
    before = source.read_bytes()
    with pytest.raises(errors.InvalidOutput, match=r"got --output .*, expected"):
        FileTarget(tmp_path / name, source)
    assert source.read_bytes() == before


def test_a_file_of_another_origin_is_refused_and_stays(tmp_path):
    target = write_lines(tmp_path / "notes.jsonl", [{"mine": 1}])
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=r"no notes\.jsonl\.settings\.json beside it"):
        FileTarget(target)
    assert target.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["notes.jsonl"]


@pytest.mark.parametrize("settings", [None, "my notes", '{"job": {"kind": "generate", "model": "other"}}'])
def test_a_file_of_any_origin_is_written_again_if_it_may_be_replaced(lm, source, tmp_path, settings):
    target, fresh = tmp_path / "out.jsonl", tmp_path / "fresh.jsonl"
    target.write_text("mine\n", encoding="utf-8")
    if settings is not None:
        settings_path(target).write_text(settings, encoding="utf-8")
    run_job(lm, source, target, replace=True)
    run_job(lm, source, fresh)
    assert json_rows(target) == json_rows(fresh)
    assert settings_path(target).read_bytes() == settings_path(fresh).read_bytes()


def test_a_file_that_may_be_replaced_stays_until_it_is_claimed_and_resumes_nothing(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    before = target.read_bytes()
    forced = FileTarget(target, source, replace=True)
    forced.check_job(replace(JOB, trace=True))
    assert target.read_bytes() == before
    with forced.claimed(SETTINGS):
        assert forced.finished(2, {1: {}, 2: {}}) == set()


@pytest.mark.parametrize("name", ["/dev/full", "folder", "in.jsonl"])
def test_devices_folders_and_the_input_are_never_replaced(source, tmp_path, name):
    (tmp_path / "folder").mkdir()
    before = source.read_bytes()
    with pytest.raises(errors.InvalidOutput, match=r"got --output .*, expected"):
        FileTarget(tmp_path / name, source, replace=True)
    assert source.read_bytes() == before


def test_a_pipe_receives_the_rows(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(errors.InvalidOutput, match="a pipe that something reads"), open_target(pipe):
        pass
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with open_target(pipe) as target, target.claimed({}):
        assert target.finished(1, {1: {}}) == set()
        target.append([{"text": "\u2028 nan", "reward": float("nan")}])
    with open(reader, encoding="utf-8") as read:
        assert json.loads(read.read()) == {"text": "\u2028 nan", "reward": None}


def test_a_hyphen_is_standard_output(capsys):
    with open_target(Path("-")) as target:
        assert isinstance(target, StreamTarget)
        target.append([{"line": 1}])
    assert capsys.readouterr().out == '{"line": 1}\n'


@pytest.mark.parametrize("hidden", ["\x9b31m", "\x7f", "\u202e", "\x1b[31m"])
def test_a_stream_shows_no_character_that_a_terminal_acts_on(capsys, hidden):
    with open_target(Path("-")) as target:
        target.append([{"text": hidden}])
    out = capsys.readouterr().out
    assert hidden not in out
    assert json.loads(out) == {"text": hidden}


@pytest.mark.parametrize("content", ["my notes", "{}", '{"job": 3}', '{"job": {}}', "[" * 300, ""])
@pytest.mark.parametrize("rows", [None, "", '{"line": 1}\n'])
def test_notes_in_the_place_of_the_settings_are_refused_and_stay(tmp_path, content, rows):
    target = tmp_path / "out.jsonl"
    if rows is not None:
        target.write_text(rows, encoding="utf-8")
    settings_path(target).write_text(content, encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="no settings of ours"):
        FileTarget(target)
    assert settings_path(target).read_text(encoding="utf-8") == content


@pytest.mark.parametrize("kind", ["folder", "device", "input"])
def test_settings_that_cannot_be_written_are_refused_before_any_work(tmp_path, kind):
    target, source = tmp_path / "out.jsonl", tmp_path / "out.jsonl.settings.json"
    if kind == "folder":
        source.mkdir()
    elif kind == "device":
        source.symlink_to("/dev/null")
    else:
        write_lines(source, PROMPTS)
    with pytest.raises(errors.InvalidOutput, match=r"settings.* expected"):
        FileTarget(target, source if kind == "input" else None)


def test_a_link_in_the_place_of_the_settings_is_followed_and_stays(lm, source, tmp_path):
    settings_path(tmp_path / "out.jsonl").symlink_to(tmp_path / "real.json")
    for _ in range(2):
        run_job(lm, source, tmp_path / "out.jsonl")
    assert settings_path(tmp_path / "out.jsonl").is_symlink()
    assert (tmp_path / "real.json").is_file()


def test_rows_with_and_without_a_trace_are_never_mixed(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    with pytest.raises(errors.InvalidData, match=r"job\.trace: False there, True here"):
        run_job(lm, source, target, job=replace(JOB, trace=True))


def test_older_settings_lack_newer_fields_and_resume_with_their_defaults(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    settings = json.loads(settings_path(target).read_text(encoding="utf-8"))
    del settings["job"]["trace"], settings["job"]["sampling"]["top_p"]
    settings_path(target).write_text(json.dumps(settings), encoding="utf-8")
    target.write_text("".join(target.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    FileTarget(target).check_job(JOB)
    with pytest.raises(errors.InvalidData, match=r"job\.trace: False there, True here"):
        FileTarget(target).check_job(replace(JOB, trace=True))
    run_job(lm, source, target)
    assert len(json_rows(target)) == 4


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{broken", "line 2: not JSON"),
        ("[1]", "line 2: got list"),
        ('{"line": [1], "sample": 0}', r"line 2: 'line' is \[1\]"),
        ('{"line": true, "sample": 0}', "line 2: 'line' is True"),
        ('{"line": 1, "sample": 0, "text": "", "token_ids": [0.5]}', "line 2: 'token_ids' is"),
        ('{"sample": 0}', "line 2: it has no 'line'"),
        ('{"line": 1' + "0" * 400 + "}", "line 2: not JSON"),
        ('{"line": ' + "[" * 900 + "]" * 900 + "}", "line 2: not JSON"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named_and_the_file_stays(lm, source, tmp_path, line, fault):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    rows = target.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join([rows[0], line + "\n", *rows[2:]]), encoding="utf-8")
    before = target.read_bytes()
    with pytest.raises(errors.InvalidData, match=f"is damaged: {fault}"):
        run_job(lm, source, target)
    assert target.read_bytes() == before


def test_a_seed_is_drawn_anew_for_a_target_without_rows(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    target.unlink()
    assert drawn_seed(target) != JOB.sampling.seed


def test_the_seed_of_an_interrupted_run_is_drawn_again(lm, source, tmp_path):
    target = tmp_path / "out.jsonl"
    run_job(lm, source, target)
    assert drawn_seed(target) == JOB.sampling.seed
    assert drawn_seed(tmp_path / "new.jsonl") != drawn_seed(tmp_path / "new.jsonl")
    settings_path(target).write_text('{"job": {}}', encoding="utf-8")
    with pytest.raises(errors.InvalidData, match="cannot read"):
        drawn_seed(target)


@pytest.mark.parametrize("taken", ["folder", "link"])
def test_a_lock_that_cannot_be_taken_is_refused_at_once(tmp_path, taken):
    lock = lock_path(tmp_path / "out.jsonl")
    lock.mkdir() if taken == "folder" else lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(errors.InvalidOutput, match="expected a regular file there"):
        FileTarget(tmp_path / "out.jsonl")


def test_the_settings_of_rows_are_no_target(tmp_path):
    with pytest.raises(errors.InvalidData, match="so the settings of rows are called"):
        FileTarget(tmp_path / "out.jsonl.settings.json", replace=True)
