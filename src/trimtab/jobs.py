"""Generation over a file of prompts: in batches, each written when it is done, so that a killed run can go on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from trimtab.engines.settings import DEFAULT_MAX_NEW_TOKENS, Sampling
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.evaluation.settings import Dtype
from trimtab.generation import Generation
from trimtab.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.lm import LanguageModel
from trimtab.rewind.result import Rewound
from trimtab.rewind.settings import Budget, RewindSettings
from trimtab.steering.steer import Steer

SETTINGS_SUFFIX = ".settings.json"


@final
@dataclass(frozen=True)
class Job:
    """What to do with every prompt.

    Attributes:
        model, dtype: the language model's name and its numbers, for the record.
        steer, method: the steer, as text, for the record.
        sampling: the candidates and the temperature.
        max_new_tokens, n, chat, stop: as in `LanguageModel.generate`.
        seed: of every prompt.
    """

    model: str
    dtype: Dtype = "auto"
    steer: tuple[str, ...] = ()
    method: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
    n: int = 1
    seed: int = 0
    chat: bool = False
    stop: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class RewindJob:
    """What to search for every prompt; fields as in `LanguageModel.rewind`, names as typed.

    Attributes:
        n: samples of a prompt: one.
    """

    model: str
    judge: str
    steer: tuple[str, ...]
    method: str | None
    settings: RewindSettings
    budget: Budget
    similarity: str
    seed: int
    chat: bool
    stop: tuple[str, ...]
    judge_chat: bool
    judge_soft: bool
    judge_alone: bool
    dtype: Dtype
    n: int = 1


@dataclass(frozen=True)
class Prompt:
    """A prompt and the line it came from."""

    line: int
    text: str


def write_prompts(lm: LanguageModel, prompts: Sequence[Prompt], steer: Steer | None, job: Job) -> list[dict[str, Any]]:
    """Continue some prompts as one batch; one row for each sample."""
    written = lm.generate(
        [prompt.text for prompt in prompts],
        [steer] * len(prompts),
        n=job.n,
        **asdict(job.sampling),
        max_new_tokens=job.max_new_tokens,
        stop=job.stop,
        seed=job.seed,
        chat=job.chat,
    )
    return [
        {"line": prompt.line, "sample": sample, **describe(generation, job.steer)}
        for prompt, of_prompt in zip(prompts, written, strict=True)
        for sample, generation in enumerate([of_prompt] if job.n == 1 else of_prompt)
    ]


def search_prompts(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    judge: Any,
    steer: Steer | None,
    job: RewindJob,
    progress: Callable[[Any], None] = lambda turn: None,
) -> list[Rewound]:
    """Search a continuation of some prompts, all together."""
    return lm.rewind(
        [prompt.text for prompt in prompts],
        judge,
        steer,
        job.settings,
        similarity=job.similarity,
        stop=job.stop,
        seed=job.seed,
        chat=job.chat,
        budget=job.budget,
        progress=progress,
    )


def describe_search(prompt: Prompt, result: Rewound) -> dict[str, Any]:
    """A searched continuation as one JSON object, with everything that was taken back, and what its call cost.

    Raises:
        KeyboardInterrupt: it was interrupted: the prompt is to be searched again.
    """
    if result.finish_reason == "interrupted":
        raise KeyboardInterrupt
    call = {"tokens": result.spent.tokens, "calls": result.spent.calls, "seconds": round(result.seconds, 1)}
    return {"line": prompt.line, "sample": 0, **result.as_dict(), "call": call}


def describe(generation: Generation, steer: Sequence[str]) -> dict[str, Any]:
    """A generation as one JSON object."""
    tokens = list(generation.trace)
    return {
        "prompt": generation.prompt,
        "text": generation.text,
        "tokens": [token.text for token in tokens],
        "token_ids": generation.token_ids,
        "rewards": {name: [token.rewards[name] for token in tokens] for name in tokens[0].rewards},
        "steer": list(steer),
        "finish_reason": generation.finish_reason,
    }


def run_file(
    lm: LanguageModel,
    source: Path,
    target: Path,
    write: Callable[[Sequence[Prompt]], list[dict[str, Any]]],
    job: Job | RewindJob,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Continue every prompt of a JSON-lines file; returns what was wrong with the lines that could not be.

    Rows are appended to `target` batch by batch, and the settings kept beside it. Called again, it goes on where it
    was stopped.

    Args:
        lm: the language model.
        source: objects with a "prompt".
        target: what `write` returns, each with the "line" of its prompt and the number of the "sample".
        write: continues some prompts.
        job: the settings, kept beside the target; another call with other settings is refused.
        batch_size: prompts written together.
        progress: called with the prompts done and the prompts in all.

    Raises:
        InvalidData: no such file, no usable prompt in it, or a `target` that other settings wrote.
        InvalidSetting: batch_size below 1.
    """
    if batch_size < 1:
        raise InvalidSetting(f"got batch_size={batch_size}, expected at least 1")
    prompts, faults = read_prompts(source, lm, job.chat)
    if not prompts:
        raise InvalidData(f"{str(source)!r} has no usable prompt; first fault: {(faults or ['it is empty'])[0]}")
    claim(target, job)
    finished = finished_lines(target, job.n, {prompt.line: prompt.text for prompt in prompts})
    waiting = [prompt for prompt in prompts if prompt.line not in finished]
    done = len(prompts) - len(waiting)
    progress(done, len(prompts))
    for batch in _batches(waiting, batch_size):
        append_rows(target, write(batch))
        done += len(batch)
        progress(done, len(prompts))
    return faults


def read_prompts(source: Path, lm: LanguageModel, chat: bool) -> tuple[list[Prompt], list[str]]:
    """The prompts of a file that can be continued, and what is wrong with the rest."""
    prompts, faults = [], []
    for line in read_lines(source):
        fault = line.fault or _fault(line.row or {}, lm, chat)
        if fault is None and line.row is not None:
            prompts.append(Prompt(line.number, line.row["prompt"]))
        else:
            faults.append(fault if line.fault else f"line {line.number}: {fault}")
    return prompts, [fault for fault in faults if fault]


def claim(target: Path, job: Job | RewindJob) -> None:
    """Write the settings beside a new target; refuse one that other settings wrote."""
    if target.suffix == ".gz":
        raise InvalidData(f"got {str(target)!r} to write, expected a plain .jsonl file: a compressed one cannot go on")
    settings = json.dumps(asdict(job), indent=2)
    record = target.with_name(target.name + SETTINGS_SUFFIX)
    if target.exists() and target.stat().st_size:
        if not record.exists() or record.read_text(encoding="utf-8") != settings:
            raise InvalidData(f"{str(target)!r} was written with other settings; remove it or choose another --output")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(settings, encoding="utf-8")


def finished_lines(target: Path, n: int, prompts: dict[int, str]) -> set[int]:
    """The prompts' lines whose n samples a target holds; rows of a half-written batch are removed.

    Raises:
        InvalidData: a row that does not answer the prompt of its line.
    """
    drop_torn_line(target)
    if not target.exists():
        return set()
    rows = [line.row for line in read_lines(target) if line.row]
    for row in rows:
        if row.get("line") not in prompts or row.get("prompt") != prompts[row["line"]]:
            raise InvalidData(f"{str(target)!r} answers other prompts than --input has; choose another --output")
    counts = Counter(row["line"] for row in rows)
    finished = {line for line, count in counts.items() if count == n}
    if len(finished) < len(counts):
        kept = target.with_name(target.name + ".kept")
        kept.unlink(missing_ok=True)
        append_rows(kept, [row for row in rows if row["line"] in finished])
        kept.replace(target)
    return finished


def _fault(row: dict[str, Any], lm: LanguageModel, chat: bool) -> str | None:
    if not isinstance(row.get("prompt"), str):
        return 'expected an object with a text under "prompt"'
    try:
        lm.frozen.encode(row["prompt"], chat)
    except InvalidPrompt as error:
        return str(error)
    return None


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[Sequence[Prompt]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
