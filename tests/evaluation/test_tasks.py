import numpy as np
import pytest

from trimtab.errors import InvalidData
from trimtab.evaluation.score.metrics import control_figures
from trimtab.evaluation.tasks import TASKS, find_task


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(InvalidData, match=r"got the task 'kindness', expected one of toxicity, sentiment, prompts"):
        find_task("kindness")


@pytest.mark.parametrize("name", TASKS)
def test_every_figure_of_a_task_is_computed_from_scores(name):
    figures = control_figures(np.array([[0.25, 0.75]]), 0.5)
    assert find_task(name).name == name
    assert set(TASKS[name].figures) <= set(figures)


def test_only_toxicity_is_better_when_it_is_lower():
    assert [name for name, task in TASKS.items() if task.lower_is_better] == ["toxicity"]
