"""The stderr console, JSON on a terminal, the spinner, and colours."""

import contextlib
import gc
import json
import os
import pty
import subprocess
import sys

import pytest

from trimtab.cli.console import colour, error_console, loading, output_console, print_json, print_text, report_faults


@pytest.mark.parametrize(
    ("reward", "expected"),
    [(0.0, "#ff6464"), (0.5, "#ffff64"), (1.0, "#64ff64"), (-3.0, "#ff6464"), (7.0, "#64ff64"), (0.25, "#ffb164")],
)
def test_colours_go_from_red_over_yellow_to_green(reward, expected):
    assert colour(reward) == expected


def test_the_error_console_writes_to_stderr_without_highlighting(capsys):
    error_console().print("3 rows skipped")
    assert capsys.readouterr() == ("", "3 rows skipped\n")


def test_a_name_between_colons_is_no_emoji(capsys):
    error_console().print("reward:key:")
    output_console().print("reward:100:")
    assert capsys.readouterr() == ("reward:100:\n", "reward:key:\n")


def test_a_text_is_printed_as_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    print_text(output_console(), "a\tb [red]c[/]\n:key: " + "long " * 9, "dim", end="")
    print_text(output_console(), "\x1b\u202e")
    assert capsys.readouterr().out == "a\tb [red]c[/]\n:key: " + "long " * 9 + "<U+001B><U+202E>\n"


def test_the_first_faults_of_a_table_are_named_legibly(capsys):
    report_faults("a\x1b.csv", [])
    assert capsys.readouterr().err == ""
    report_faults("a\x1b.csv", ["line 2: got [x]"])
    assert capsys.readouterr().err == "a<U+001B>.csv: 1 row skipped: line 2: got [x]\n"
    report_faults("b", [f"line {number}: \x9b" for number in range(9)])
    assert capsys.readouterr().err.startswith("b: 9 rows skipped: line 0: <U+009B>; line 1:")


def test_json_is_one_line_without_characters_that_a_terminal_acts_on(capsys):
    value = {"text": "\x1b[31m\x9b\u202e\n", "reward": float("nan")}
    print_json(value)
    out = capsys.readouterr().out
    assert out == '{"text": "\\u001b[31m\\u009b\\u202e\\n", "reward": null}\n'
    assert json.loads(out) == {"text": value["text"], "reward": None}


def test_loading_prints_nothing_where_stderr_is_no_terminal(capfd):
    with loading("smollm2"):
        pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("term", "shown"), [("xterm", True), ("dumb", False)])
def test_loading_shows_what_loads_on_a_terminal(term, shown):
    """The command runs on a terminal of its own; nothing goes to stdout."""
    code = 'from trimtab.cli.console import loading\nwith loading("evil\\x1b]0;x"):\n    import time; time.sleep(0.5)'
    terminal, child_end = pty.openpty()
    environment = {**os.environ, "TERM": term}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=child_end, env=environment
    ) as running:
        os.close(child_end)
        seen = b""
        with contextlib.suppress(OSError):  # the child closed its end
            while more := os.read(terminal, 4096):
                seen += more
        out, _ = running.communicate()
    os.close(terminal)
    assert (running.returncode, out) == (0, b"")
    assert (b"Loading evil<U+001B>]0;x" in seen) == shown
    assert b"\x1b]0;" not in seen


def test_a_fault_while_loading_ends_the_spinner():
    with pytest.raises(ValueError, match="broken"), loading("smollm2"):
        raise ValueError("broken")


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_waits_while_something_loads(enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        with loading("smollm2"):
            assert not gc.isenabled()
            with loading("rewards"):
                assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
        gc.unfreeze()
