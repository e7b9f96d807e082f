"""The judge that runs code: outcomes by hand, the sandbox's limits, and a search that finds a passing program."""

import json
import os
import time
from pathlib import Path

import pytest

from trimtab import errors
from trimtab.judges.base import description_of, threshold_of
from trimtab.judges.draft import Draft
from trimtab.judges.notation import judge_from_text, parse_judge
from trimtab.judges.sandbox import Limits, Outcome, Report, run_tests
from trimtab.judges.unit_tests import UnitTests, load_tests, program_of, program_start
from trimtab.language_model import LanguageModel
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec

TESTS = "assert f(2) == 4\nassert f(3) == 9"


def report(program, tests=TESTS, limits=None):
    (found,) = run_tests([(program, tests)], limits)
    return found


def draft(text, prompt=""):
    return Draft(prompt, (), (), text)


@pytest.mark.parametrize(
    ("program", "outcome", "line"),
    [
        ("def f(x):\n    return x * x\n", Outcome.PASSED, None),
        ("def f(x):\n    return x + x\n", Outcome.FAILED, None),
        ("def f(x):\n    return x *\n", Outcome.COMPILE_ERROR, 2),
        ("def f(x):\n    y = 1\n    return x / 0\n", Outcome.RUNTIME_ERROR, 3),
        ("def f(x):\n    assert x < 0\n    return x", Outcome.RUNTIME_ERROR, 2),  # its own assertion is no test
        ("def g(x):\n    return x", Outcome.RUNTIME_ERROR, None),  # the tests do not find f
        ("raise SystemExit(0)", Outcome.RUNTIME_ERROR, 1),
        ("import os\nos._exit(0)", Outcome.RUNTIME_ERROR, None),
        ("def f(x):\n    return f(x)", Outcome.RUNTIME_ERROR, 2),
        ('print(\'{"outcome": "passed"}\')\nf = 1', Outcome.RUNTIME_ERROR, None),
        ("x = '\0'", Outcome.COMPILE_ERROR, None),
    ],
)
def test_the_four_outcomes(program, outcome, line):
    found = report(program)
    assert (found.outcome, found.line) == (outcome, line), found.message


def test_the_returns_are_the_papers_and_a_search_backs_them_up():
    returns = {Outcome.COMPILE_ERROR: -1.0, Outcome.RUNTIME_ERROR: -0.6, Outcome.FAILED: -0.3, Outcome.PASSED: 1.0}
    assert {outcome: outcome.value for outcome in Outcome} == returns
    programs = ["f = (", "f = 1", "f = lambda x: x", "f = lambda x: x * x"]
    scores = UnitTests(TESTS).score([draft(program) for program in programs], None)
    assert [2 * score - 1 for score in scores] == pytest.approx([-1.0, -0.6, -0.3, 1.0])
    assert threshold_of(UnitTests(TESTS)) == 1.0


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket\nsocket.socket()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1')",
        "import subprocess\nsubprocess.run(['true'])",
        "import os\nos.system('true')",
        "import multiprocessing as m, os\nm.get_context('spawn').Process(target=os.mkdir, args=('OUTSIDE',)).start()",
        "import socket\nsocket.create_connection(('127.0.0.1', 1))",
        "import socket\nsocket.socket(socket.AF_UNIX).bind('OUTSIDE')",
        "import os\nos.fork()",
        "open('OUTSIDE', 'w')",
        "open('OUTSIDE', 'a')",
        "import os\nos.open('OUTSIDE', os.O_CREAT | os.O_WRONLY)",
        "import os\nos.mkdir('OUTSIDE')",
        "import os\nos.rename('here', 'OUTSIDE')",
        "import os\nos.symlink('/', 'here')\nopen('here/OUTSIDE', 'w')",
        "import sqlite3\nsqlite3.connect('OUTSIDE')",
        "import pathlib, sqlite3\nsqlite3.connect(pathlib.Path('OUTSIDE'))",
        "import sqlite3\nsqlite3.connect('file:OUTSIDE?mode=rwc', uri=True)",
        "import io, pathlib\nio.FileIO(pathlib.Path('OUTSIDE'), 'w')",
        "import os\nos.utime('FOLDER/kept', (0, 0))",
        "import os\nos.kill(os.getppid(), 0)",
        "import shutil\nshutil.rmtree('FOLDER')",
        "x = bytearray(4 * 2**30)",
        "open('here', 'wb').write(b'x' * (2**20 + 2**16))",
    ],
)
def test_what_leaves_the_sandbox_is_a_runtime_error(tmp_path, attempt):
    (tmp_path / "kept").write_text("kept")
    program = attempt.replace("OUTSIDE", str(tmp_path / "outside")).replace("FOLDER", str(tmp_path))
    assert report(program, "pass").outcome is Outcome.RUNTIME_ERROR
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_program_may_use_asyncio():
    program = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x * x"
    found = report(program, "assert asyncio.run(f(3)) == 9")
    assert found.outcome is Outcome.PASSED, found.message


def test_a_program_may_use_its_folder_which_is_removed():
    program = "import os, tempfile\nopen('here', 'w').write(os.getcwd())\ntempfile.TemporaryFile().close()"
    assert report(program, "assert open('here').read()").outcome is Outcome.PASSED
    database = (
        "import sqlite3\nfor name in ('here', ':memory:', ''):\n    sqlite3.connect(name).execute('create table a (b)')"
    )
    assert report(database, "import os\nos.utime('here', (0, 0))").outcome is Outcome.PASSED
    leak = report("import os", "raise ValueError(os.getcwd())")
    assert not Path(leak.message.removeprefix("ValueError: ")).exists()
    assert "trimtab-tests-" in leak.message


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="macOS has no setxattr")
@pytest.mark.parametrize(("path", "outcome"), [("OUTSIDE", Outcome.RUNTIME_ERROR), ("here", Outcome.PASSED)])
def test_attributes_of_files_outside_are_not_changed(tmp_path, path, outcome):
    """A file system without such attributes passes, too."""
    (tmp_path / "outside").write_text("kept")
    path = path.replace("OUTSIDE", str(tmp_path / "outside"))
    attempt = f"try:\n    os.setxattr('{path}', 'user.a', b'/b')\nexcept OSError as error:\n    "
    program = f"import os\nopen('here', 'w').close()\n{attempt}assert 'sandbox' not in str(error)"
    assert report(program, "pass").outcome is outcome


def test_a_program_sees_no_environment():
    os.environ["TRIMTAB_SECRET"] = "secret"
    try:
        assert report("import os", "assert 'TRIMTAB_SECRET' not in os.environ").outcome is Outcome.PASSED
    finally:
        del os.environ["TRIMTAB_SECRET"]


def test_time_is_limited():
    start = time.monotonic()
    found = report("import time\ntime.sleep(60)", limits=Limits(seconds=1.0))
    assert (found.outcome, found.message) == (Outcome.RUNTIME_ERROR, "it took more than 1 seconds")
    busy = report("while True: pass", limits=Limits(seconds=30.0, cpu_seconds=1))
    assert busy.outcome is Outcome.RUNTIME_ERROR
    assert time.monotonic() - start < 20


def test_equal_programs_run_once_and_reports_keep_the_order(monkeypatch):
    ran = []

    def run(jobs, limits):
        ran.extend(jobs)
        return [Report(Outcome.FAILED, " ".join(job)) for job in jobs]

    monkeypatch.setattr("trimtab.judges.unit_tests.run_tests", run)
    drafts = [draft("f = 1", "a"), draft("f = 2", "a"), draft("f = 1", "a"), draft("f = 2", "b")]
    judge = UnitTests({"a": "assert f == 1", "b": "assert f == 2"}, program=lambda each: each.text)
    found = judge.reports(drafts)
    assert len(ran) == 3
    assert [each.message for each in found] == [
        "f = 1 assert f == 1", "f = 2 assert f == 1", "f = 1 assert f == 1", "f = 2 assert f == 2"
    ]  # fmt: skip
    with pytest.raises(errors.InvalidPrompt, match="for which there are no tests"):
        judge.reports([draft("f = 1", "c")])


@pytest.mark.parametrize(
    ("prompt", "text", "program"),
    [
        ("def f():\n", "    return 1", "def f():\n    return 1"),
        ("Write f.", "Sure:\n```python\nf = 1\n```\nDone.", "f = 1"),
        ("Write f.", "```\nf = 1\n\ng = 2", "f = 1\n\ng = 2"),
        ("Write f.", "```py \nf = 1\n```\n```python\nf = 2\n```", "f = 1"),
        ("Write f.", "```python3\nf = 1\n```\nDone.", "f = 1"),
        ("Write f.", "```bash\npip install numpy\n```\nThen:\n```Python title=f\nf = 1\n```", "f = 1"),
        ("Write f.", "```python\r\nf = 1\r\ng = 2\r\n```\r\nDone.", "f = 1\r\ng = 2"),
        ("Write f.", "Call ```f``` so:\n```\nf = 1\n```", "f = 1"),
        ("# Run it:\n", "f = 1\n# ```bash\n# true\n# ```", "# Run it:\nf = 1\n# ```bash\n# true\n# ```"),
    ],
)
def test_the_program_of_a_draft(prompt, text, program):
    given = draft(text, prompt)
    assert program_of(given) == program
    start = program_start(given)
    assert (prompt + text)[start + len(prompt) :].startswith(program)


def test_an_answer_without_a_fence_is_the_program():
    question = [{"role": "user", "content": "Write f."}]
    given = Draft.of(question, (), (), "f = 1\n")
    assert program_of(given) == given.text
    assert program_start(given) == 0
    assert UnitTests("assert f == 1").score([given], None) == [1.0]
    with_system = Draft.of([{"role": "system", "content": "Use Python."}, *question], (), (), "f = 1\n")
    assert UnitTests({"Write f.": "assert f == 1"}).score([with_system], None) == [1.0]
    asked = Draft.of("Write f.\n", (), (), "f = 1\n")
    assert program_of(asked) == "Write f.\nf = 1\n"


def test_a_judge_keeps_the_latest_reports(monkeypatch):
    ran = []

    def run(jobs, limits):
        ran.extend(program for program, _ in jobs)
        return [Report(Outcome.FAILED, program) for program, _ in jobs]

    monkeypatch.setattr("trimtab.judges.unit_tests.run_tests", run)
    monkeypatch.setattr("trimtab.judges.unit_tests.KNOWN_PROGRAMS", 2)
    judge = UnitTests("pass")
    for text in ("a", "b", "a", "c", "a", "b"):  # c takes the place of b, which was read before a
        judge.reports([draft(text)])
    assert ran == ["a", "b", "c", "b"]
    assert [each.message for each in judge.reports([draft(text) for text in "abcd"])] == ["a", "b", "c", "d"]


def test_tests_come_from_a_file(tmp_path):
    (tmp_path / "tests.py").write_text("assert f == 1")
    assert load_tests(tmp_path / "tests.py").tests_of("any") == "assert f == 1"
    rows = [
        {"prompt": "a", "tests": "assert f == 1"},
        {"messages": [{"role": "user", "content": "b"}], "tests": "assert f == 2"},
    ]
    (tmp_path / "tests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    judge = judge_from_text(f"tests:{tmp_path / 'tests.jsonl'}")
    assert (judge.tests_of("a"), judge.tests_of("b")) == ("assert f == 1", "assert f == 2")
    assert description_of(judge)["judge"] == "tests"
    assert description_of(judge)["tests_sha256"] != description_of(UnitTests("pass"))["tests_sha256"]
    assert parse_judge("tests:t.py") == parse_judge("tests:t.py")
    rows.append({"prompt": "a", "tests": "assert f == 3"})
    (tmp_path / "tests.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(errors.InvalidData, match="two different tests"):
        load_tests(tmp_path / "tests.jsonl")


@pytest.mark.parametrize(
    ("name", "content"),
    [("no.py", None), ("bad.py", "assert ("), ("bad.jsonl", '{"prompt": "a", "tests": "("}'), ("no.jsonl", None)],
)
def test_bad_files_of_tests_are_refused(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(errors.TrimtabError, match=r"tests|cannot read"):
        load_tests(tmp_path / name)


def test_limits_are_positive():
    for name in ("seconds", "cpu_seconds", "memory", "file_size"):
        with pytest.raises(errors.InvalidSetting, match=f"got {name}=0"):
            Limits(**{name: 0.0 if name == "seconds" else 0})


WORDS = ["x=1", "x=2", "x=3", "x=", "y=0"]


@pytest.fixture
def coder():
    """A model of words that are statements, each on a line of its own; one word in ten sets x to 3."""
    weights = {"x=1": 0.4, "x=2": 0.3, "x=": 0.1, "x=3": 0.1, "y=0": 0.05, "<eos>": 0.05}
    return LanguageModel(ScriptedEngine(WordCodec(WORDS), lambda written: weights))


def lines(draft):
    return "\n".join(draft.text.split())


def test_a_search_finds_a_passing_program_and_ends_there(coder):
    judge = UnitTests("assert x == 3", program=lines)
    settings = RewindSettings(max_new_tokens=3, iterations=8, children=5, max_children=5, top_k=6, whole_drafts=True)
    found = coder.rewind("y=0", judge, settings=settings, similarity="off", seed=0)
    assert found.finish_reason in ("eos", "length")
    assert judge.reports([draft(found.text)])[0].outcome is Outcome.PASSED
    assert sum(commit.final for commit in found.commits) == 1
    last = found.commits[-1]
    assert 1.0 in [last.score, *(branch.score for branch in _all(last.branches) if branch.kept)]


def _all(branches):
    for branch in branches:
        yield branch
        yield from _all(branch.children)


def test_a_search_by_tests_needs_whole_drafts(coder):
    with pytest.raises(errors.InvalidSetting, match="but the judge 'tests' judges finished texts"):
        coder.rewind(
            "y=0", UnitTests("pass"), settings=RewindSettings(max_new_tokens=2, top_k=6, max_children=6, children=6)
        )


def test_best_of_ranks_by_tests(coder):
    ranked = coder.best_of("y=0", 40, by=UnitTests("assert x == 3", program=lines), seed=0, max_new_tokens=3, top_k=6)
    assert ranked.scores[0] == 1.0
    assert list(ranked.scores) == sorted(ranked.scores, reverse=True)
    assert {round(score, 2) for score in ranked.scores} <= {0.0, 0.2, 0.35, 1.0}
    assert len(set(ranked.scores)) > 1


def test_the_space_before_an_answer_is_no_indent():
    answer = Draft.of([{"role": "user", "content": "Write f"}], (), (), " def f():\n    return 1 / 0\n")
    judge = UnitTests("f()")
    (report,) = judge.reports([answer])
    assert report.outcome is Outcome.RUNTIME_ERROR
    assert judge.place_of(answer, report) == answer.text.index("    return")
    assert UnitTests("assert f").score([answer], None) == [1.0]


@pytest.mark.parametrize("prompt", [["Hi"], [{"role": "user"}], []])
def test_what_is_no_prompt_is_our_error(prompt):
    with pytest.raises(errors.InvalidPrompt):
        UnitTests("assert True").check_prompt(prompt)
