import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from trimtab.data.jsonlines import read_lines
from trimtab.training.callbacks import Recorder, TrainingProgress
from trimtab.training.run_folder import RunFolder


class Listener(TrainingProgress):
    def __init__(self):
        self.steps, self.rows = [], []

    def step(self, done, total):
        self.steps.append((done, total))

    def logged(self, row):
        self.rows.append(row)


def state_of(main):
    return TrainerState(is_world_process_zero=main, global_step=3, max_steps=8)


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(str(tmp_path), use_cpu=True)


@pytest.mark.parametrize("main", [True, False])
def test_only_the_first_process_reports_and_records(main, arguments, tmp_path):
    listener, run = Listener(), RunFolder(tmp_path)
    recorder = Recorder(run, listener)
    recorder.on_step_end(arguments, state_of(main), TrainerControl())
    recorder.on_log(arguments, state_of(main), TrainerControl(), logs={"loss": 0.5})
    recorded = [line.row for line in read_lines(run.metrics)] if main else []
    assert run.metrics.exists() == main
    assert listener.steps == ([(3, 8)] if main else [])
    assert listener.rows == recorded == ([{"step": 3, "loss": 0.5}] if main else [])


def test_logs_without_a_loss_are_left_out(arguments):
    listener = Listener()
    recorder = Recorder(None, listener)
    for logs in (None, {}, {"train_runtime": 9.0}):
        recorder.on_log(arguments, state_of(True), TrainerControl(), logs=logs)
    assert listener.rows == []


@pytest.mark.parametrize(("log", "save", "expected"), [(False, False, False), (True, False, True), (False, True, True)])
def test_a_step_with_a_checkpoint_is_logged(log, save, expected, arguments):
    control = TrainerControl(should_log=log, should_save=save)
    Recorder(None, TrainingProgress()).on_step_end(arguments, state_of(True), control)
    assert control.should_log is expected
