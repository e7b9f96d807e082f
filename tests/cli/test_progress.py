"""Progress bars of training, sweeps and searches."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from trimtab.cli.progress import MAX_PROMPT, MAX_SEARCHES, Bars, SearchDisplay, SweepBars, counting
from trimtab.models.usage import Usage
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.rewind.runner import SearchProgress
from trimtab.rewind.search import Search


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)


def shown(console):
    return console.file.getvalue()


def test_a_run_that_ends_before_its_bars_are_full_stops_drawing(console):
    bars = Bars(console)
    bars.close()
    bars.step(1, 9)
    assert bars.progress.live.is_started
    bars.close()
    assert not bars.progress.live.is_started


def test_training_shows_the_loss_and_prints_each_measurement(console):
    bars = Bars(console)
    bars.resumed("checkpoint-4")
    bars.started(3, 5)
    for step in range(1, 5):
        bars.step(step, 4)
        bars.logged({"step": step, "loss": 0.5 / step, "tokens_per_second": 1234.5})
    bars.logged({"step": 4, "epoch": 1.0, "eval_loss": 0.25, "accuracy:good": 0.75, "texts": 80})
    assert "resuming from checkpoint-4" in shown(console)
    assert "copied 3 of 5 tensors from --start" in shown(console)
    assert bars.progress.tasks[0].fields["note"] == "loss 0.1250  1234 useful tokens/s"
    assert "step 4: eval_loss 0.2500  accuracy:good 0.7500\n" in shown(console).replace("\r", "")


def test_a_sweep_counts_texts_of_all_rows_and_of_the_current_row(console):
    first, second = SimpleNamespace(name="top-k"), SimpleNamespace(name="arm")
    with SweepBars(console, rows=2) as bars:
        bars(first, 10, 20)
        bars(first, 20, 20)
        bars(second, 5, 20)
        tasks = {task.description: (task.completed, task.total) for task in bars.progress.tasks}
    assert tasks == {"all prompts of all rows": (25, 40), "arm": (5, 20)}


def test_a_counter_shows_the_work_done(console):
    with counting("prompts", console) as progress:
        progress(3, 7)
    assert "prompts" in shown(console)
    assert "3/7" in shown(console)


def test_searches_are_shown_up_to_a_limit_with_their_cost(console):
    searches = [Search("x" * 100 + f"prompt{n}", (5,), 0, 9, RewindSettings(), str) for n in range(MAX_SEARCHES + 3)]
    searches[0].iterations = 17
    searches[0].tree.backup([searches[0].tree.root, searches[0].tree.root.add_child([3], 1.0)], -0.5)
    with SearchDisplay(console, lambda ids: "") as display:
        display(SearchProgress(searches, Usage(500, 5), 2.0))
    text = shown(console)
    assert "250 tokens encoded per second" in text
    assert "-0.50" in text
    assert "17" in text
    assert "prompt0" in text
    assert "x" * (MAX_PROMPT - len("prompt0") + 1) not in text
    assert "… and 3 more" in text


def test_names_and_texts_are_shown_without_escape_codes_and_without_markup(console):
    evil = "\x1b[31m[red]\x9b"
    search = Search(evil, (5,), 0, 9, RewindSettings(), str)
    with SearchDisplay(console, lambda ids: evil) as display:
        display(SearchProgress([search], Usage(), 1.0))
    with SweepBars(console, rows=1) as bars:
        bars(SimpleNamespace(name=evil), 1, 2)
    training = Bars(console)
    training.resumed(evil)
    training.logged({"step": 1, "eval_loss": 0.5, f"accuracy:{evil}": 0.5})
    assert "\x1b[31m" not in shown(console)
    assert "\x9b" not in shown(console)
    assert shown(console).count("<U+001B>[31m[red]") >= 4
