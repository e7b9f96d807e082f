"""Run a benchmark. What is measured is kept as it comes, so that an interrupted run has a table too."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch

from trimtab.benchmark.bench_settings import BenchSettings, Setting
from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.memory import measure_memory
from trimtab.benchmark.paired import Runs, time_in_turns
from trimtab.benchmark.parts import Part, time_parts
from trimtab.benchmark.plan import LIMITS, Case, LeftOut, Sizes, operations, plan, sizes_of
from trimtab.benchmark.subject import Subject, SubjectSpec, check_fits, load_subject
from trimtab.benchmark.writers import job_of, writer_of
from trimtab.engines.base import StartsBatches
from trimtab.errors import InvalidSetting
from trimtab.models.loading import check_device
from trimtab.models.processor import processor_name
from trimtab.versions import versions

MEMORY_OPERATIONS = 1e12  # what the start of a process counts for in the progress
Progress = Callable[[str, float, float], None]  # what is measured, the work done and all work

Key = tuple[Setting, str]  # a table and the key of a row


@final
@dataclass
class Measured:
    """What a benchmark has measured so far.

    Attributes:
        about: the machine, the versions and the model.
        sizes: the sizes of the model.
        cases, left_out: the rows of each table, and those that have no place in it.
        runs: the timed runs of each table.
        parts: the seconds of each part of a step.
        memory: the peak memory in bytes.
        interrupted: whether Ctrl-C ended the run.
    """

    about: dict[str, Any]
    sizes: Sizes
    cases: list[Case]
    left_out: list[LeftOut]
    runs: dict[Setting, Runs] = field(default_factory=dict)
    parts: dict[Key, dict[Part, float]] = field(default_factory=dict)
    memory: dict[Key, int] = field(default_factory=dict)
    interrupted: bool = False


def prepare(spec: SubjectSpec, settings: BenchSettings) -> tuple[Subject, Measured]:
    """Check the settings, load the model, and plan what is measured.

    Raises:
        ModelNotFound: there is no such model.
        InvalidSetting: the model or the device does not take the settings.
    """
    torch.manual_seed(settings.seed)
    known = settings.resolved()
    assert known.tokens is not None
    assert known.repeats is not None
    check_clock(settings, check_device(spec.device))
    if settings.engine == "vllm" and spec.shapes is not None:
        raise InvalidSetting(f"got --shapes {spec.shapes} with --engine vllm, expected a model that is saved")
    check_fits(spec, max(known.prompt_tokens or ()), known.tokens, max(known.top_k or ()), known.layers)
    subject = load_subject(spec, known.layers)
    sizes, limits = sizes_of(subject), LIMITS.get(subject.lm.device.type, LIMITS["cuda"])
    planned = list(plan(known.table_rows, list(known.tables()), known.tokens, known.repeats, sizes, limits))
    cases = [each for each in planned if isinstance(each, Case)]
    left_out = [each for each in planned if isinstance(each, LeftOut)]
    return subject, Measured(about(spec, subject, known), sizes, cases, left_out)


def check_clock(settings: BenchSettings, device: torch.device) -> None:
    """Check that the clock sees the work.

    Raises:
        InvalidSetting: the CPU time is asked for, and the model is on a GPU.
    """
    if settings.cpu_time and device.type != "cpu":
        raise InvalidSetting(f"got --cpu-time with a model on {device}, expected the cpu; leave it out")


def measure(subject: Subject, spec: SubjectSpec, settings: BenchSettings, found: Measured, progress: Progress) -> None:
    """Measure all rows of all tables; `found` receives the figures. Ctrl-C ends it and keeps them.

    Args:
        subject, found: from `prepare`.
        spec: what the processes that measure memory load.
        settings: what to measure.
        progress: called after each piece of work.
    """
    work = Work(found.cases, found.sizes, bool(settings.resolved().memory), progress)
    start, load = time.monotonic(), load_average()
    try:
        measure_times(subject, settings, found, work)
        if work.with_memory:
            measure_peaks(spec, settings, found, work)
    except KeyboardInterrupt:
        found.interrupted = True
    found.about["seconds"] = round(time.monotonic() - start, 1)
    found.about["load_average"] = [load, load_average()]


def measure_times(subject: Subject, settings: BenchSettings, found: Measured, work: "Work") -> None:
    """Time the rows of each table in turns, then watch one run of each for its parts."""
    rewards = FreshRewards(subject)
    engine = vllm_engine(subject) if settings.engine == "vllm" else None
    jobs = {case: job_of(case.row, case.setting, rewards, settings.seed, settings.cpu_time) for case in found.cases}
    for setting in dict.fromkeys(case.setting for case in found.cases):
        cases = [case for case in found.cases if case.setting == setting]
        writers = {case.row.key: writer_of(case.row, jobs[case], engine) for case in cases}
        found.runs[setting] = {}
        too_large = time_in_turns(cases, writers, found.runs[setting], work.ran)
        found.left_out += [LeftOut(case.row, setting, "the memory of the GPU is too small") for case in too_large]
        for case in (case for case in cases if case not in too_large):
            if case.row.writer != "vllm":
                parts = time_parts(jobs[case], case.tokens, case.row.writer == "generate")
                found.parts[setting, case.row.key] = parts
            work.ran(case)


def vllm_engine(subject: Subject) -> StartsBatches:
    """vLLM over the weights of a subject. It caches no prompts, because the other rows have none cached either."""
    from trimtab.engines.vllm.engine import VllmEngine

    return VllmEngine(subject.lm, {"enable_prefix_caching": False})


def measure_peaks(spec: SubjectSpec, settings: BenchSettings, found: Measured, work: "Work") -> None:
    """Measure the memory of each row, each in a process of its own."""
    layers = found.about["layers"]
    for case in found.cases:
        peak = None if case.row.writer == "vllm" else measure_memory(case, spec, layers, settings.seed)
        if peak is not None:
            found.memory[case.setting, case.row.key] = peak
        work.loaded(case)


@final
class Work:
    """How much of the work is done, for the progress.

    Args:
        cases: the rows of all tables.
        sizes: the sizes of the model.
        with_memory: whether memory is measured.
        progress: receives it.
    """

    def __init__(self, cases: list[Case], sizes: Sizes, with_memory: bool, progress: Progress):
        self.with_memory = with_memory
        self._sizes, self._progress, self._done = sizes, progress, 0.0
        self._total = sum((case.repeats + 2) * self._of_run(case) for case in cases)
        if with_memory:
            self._total += MEMORY_OPERATIONS * len(cases)

    def ran(self, case: Case) -> None:
        """One run of a row is done."""
        self._add(case, self._of_run(case))

    def loaded(self, case: Case) -> None:
        """The memory of a row is measured."""
        self._add(case, MEMORY_OPERATIONS)

    def _of_run(self, case: Case) -> float:
        """The work of a run: its operations, and that of reading the weights at every step."""
        reading = case.tokens * 20.0 * self._sizes.lm
        return operations(case.row, case.setting, case.tokens, self._sizes) + reading

    def _add(self, case: Case, work: float) -> None:
        self._done += work
        name = f"{case.row.title}, batch {case.setting.batch}, {case.setting.prompt_tokens} tokens"
        self._progress(name, self._done, self._total)


def about(spec: SubjectSpec, subject: Subject, settings: BenchSettings) -> dict[str, Any]:
    """Where and how the figures were measured."""
    lm, device = subject.lm, subject.lm.device
    return {
        **versions(),
        "model": spec.shapes or spec.model,
        "random_weights": spec.shapes is not None,
        "base_fingerprint": lm.base_fingerprint,
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "layers": subject.layers,
        "layers_of_base": subject.base.layers,
        "clock": "CPU time" if settings.cpu_time else "wall time",
        "quick": settings.quick,
        "tokens": settings.tokens,
        "repeats": settings.repeats,
        "seed": settings.seed,
    }


def load_average() -> float | None:
    """The processes that wanted to run in the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
