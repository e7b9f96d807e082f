"""Continue every prompt of a file, batch by batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import InvalidSetting
from trimtab.jobs.batch_faults import Write, write_batch
from trimtab.jobs.job import Job, RewindJob
from trimtab.jobs.prompts import Check, NumberedPrompt, usable_prompts
from trimtab.jobs.targets import Target
from trimtab.language_model import LanguageModel


def run_file(
    lm: LanguageModel,
    source: Path,
    target: Target,
    write: Write,
    job: Job | RewindJob,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Check = lambda prompt, ids: None,
    about: Mapping[str, Any] | None = None,
) -> list[str]:
    """Continue every prompt of JSON lines; returns the faults of the lines that could not be used.

    Rows are written to `target` batch by batch. A file resumes after an interruption.

    Args:
        lm: the language model.
        source: objects with a "prompt" or with "messages": a file, a pipe, or `-`.
        target: receives the rows of `write`, each with the "line" of its prompt and the number of its "sample".
        write: continues some prompts. A prompt for which it raises InvalidPrompt becomes a fault.
        job: the settings; a file that other settings wrote is refused.
        batch_size: prompts written together.
        progress: called with the prompts done and the prompts in all.
        check: raises InvalidPrompt for a prompt and its tokens that cannot be continued; it becomes a fault.
        about: the provenance of the rows; a file that other weights wrote is refused.

    Raises:
        InvalidData: no such file, no usable prompt in it, or a `target` that other settings or weights wrote.
        InvalidOutput: another process writes `target`, or has taken rows out of it.
        InvalidSetting: batch_size below 1.
    """
    if batch_size < 1:
        raise InvalidSetting(f"got batch_size={batch_size}, expected at least 1")
    prompts, faults = usable_prompts(source, lm.engine.codec, job.chat, job.system, check)
    settings = parse_json(dump_json({"job": job.record(), **(about or {})}))
    with target.claimed(settings):
        finished = target.finished(job.samples, {prompt.line: prompt.given for prompt in prompts})
        waiting = [prompt for prompt in prompts if prompt.line not in finished]
        done = len(prompts) - len(waiting)
        unwritten: dict[int, str] = {}
        progress(done, len(prompts))
        for batch in _batches(waiting, batch_size):
            rows, of_batch = write_batch(write, batch)
            target.append(rows)
            unwritten |= of_batch
            done += len(batch)
            progress(done, len(prompts))
        target.check_whole(job.samples, {prompt.line for prompt in prompts} - set(unwritten))
    return [*faults, *(f"line {line}: {fault}" for line, fault in unwritten.items())]


def _batches(prompts: Sequence[NumberedPrompt], size: int) -> Iterator[Sequence[NumberedPrompt]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
