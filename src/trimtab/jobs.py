"""Generate or search over a file of prompts. Each batch is saved when it is done, so interrupted runs resume."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from trimtab.data.jsonlines import append_rows, drop_torn_line, read_lines
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting
from trimtab.generation import Generation
from trimtab.judges.load import JudgeLike
from trimtab.language_model import LanguageModel
from trimtab.models.codec import Message, Prompt, TextCodec
from trimtab.models.dtypes import Dtype
from trimtab.rewind.result import SearchResult
from trimtab.rewind.rewind_settings import Budget, RewindSettings
from trimtab.rewind.runner import Progress
from trimtab.steering.steer import Steer, distinct_rewards

SETTINGS_SUFFIX = ".settings.json"
EXPECTED_ROW = 'expected an object with a text under "prompt", or a list of messages under "messages"'


@final
@dataclass(frozen=True)
class Job:
    """The settings of a generation over a file of prompts.

    Attributes:
        model, dtype: the language model's name and dtype.
        steer, method: the steer, as text.
        sampling: how to sample; the seed is that of every prompt.
        chat: send each text as a user message.
        system: the system message of each conversation that has none; implies `chat`.
    """

    model: str
    dtype: Dtype = "auto"
    steer: tuple[str, ...] = ()
    method: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    chat: bool = False
    system: str | None = None

    @property
    def samples(self) -> int:
        """Rows per prompt."""
        return self.sampling.n


@final
@dataclass(frozen=True)
class RewindJob:
    """The settings of a search over a file of prompts. Fields as in `LanguageModel.rewind`, names as text."""

    model: str
    judge: str
    steer: tuple[str, ...]
    method: str | None
    settings: RewindSettings
    budget: Budget
    similarity: str
    seed: int
    chat: bool
    system: str | None
    stop: tuple[str, ...]
    judge_chat: bool
    judge_soft: bool
    judge_alone: bool
    dtype: Dtype

    @property
    def samples(self) -> int:
        """Rows per prompt."""
        return 1


@final
@dataclass(frozen=True)
class NumberedPrompt:
    """A prompt and its place in the input.

    Attributes:
        line: its number, from 1.
        prompt: what is continued.
        given: {"prompt": …} or {"messages": …} as in the input.
    """

    line: int
    prompt: Prompt
    given: Mapping[str, Any]


def as_prompt(row: Mapping[str, Any], chat: bool = False, system: str | None = None) -> Prompt:
    """The prompt of one input row: its text, or the conversation that the settings make of it.

    Args:
        row: has "prompt", a text, or "messages", a list.
        chat: send a text as a user message.
        system: put this message first, unless the conversation has a system message; implies `chat`.

    Raises:
        InvalidPrompt: it has neither.
    """
    text, messages = row.get("prompt"), row.get("messages")
    if isinstance(messages, list) and messages:
        found: list[Message] = list(messages)
    elif isinstance(text, str):
        if not chat and system is None:
            return text
        found = [{"role": "user", "content": text}]
    else:
        raise InvalidPrompt(EXPECTED_ROW)
    roles = [message.get("role") for message in found if isinstance(message, Mapping)]
    opening = [] if system is None or "system" in roles else [{"role": "system", "content": system}]
    return [*opening, *found]


def number_prompts(texts: Sequence[str], chat: bool, system: str | None) -> list[NumberedPrompt]:
    """Texts from the command line as numbered prompts."""
    rows = [{"prompt": text} for text in texts]
    return [NumberedPrompt(line, as_prompt(row, chat, system), row) for line, row in enumerate(rows, start=1)]


def write_prompts(
    lm: LanguageModel, prompts: Sequence[NumberedPrompt], steer: Steer | None, job: Job
) -> list[dict[str, Any]]:
    """Continue some prompts as one batch; returns one row per sample."""
    written = lm.generate([each.prompt for each in prompts], steer, job.sampling)
    return [
        {"line": prompt.line, "sample": number, **prompt.given, **describe(sample, job.steer)}
        for prompt, generation in zip(prompts, written, strict=True)
        for number, sample in enumerate(generation.samples)
    ]


def search_prompts(
    lm: LanguageModel,
    prompts: Sequence[NumberedPrompt],
    judge: JudgeLike,
    steer: Steer | None,
    job: RewindJob,
    progress: Progress | None = None,
) -> list[SearchResult]:
    """Search a continuation of some prompts, all together."""
    return lm.rewind(
        [each.prompt for each in prompts],
        judge,
        steer,
        job.settings,
        similarity=job.similarity,
        stop=job.stop,
        seed=job.seed,
        budget=job.budget,
        progress=progress,
    )


def describe_search(prompt: NumberedPrompt, result: SearchResult) -> dict[str, Any]:
    """A searched continuation as one JSON object, with everything that was taken back and the cost of its call.

    Raises:
        KeyboardInterrupt: the search was interrupted, so the prompt must be searched again.
    """
    if result.finish_reason == "interrupted":
        raise KeyboardInterrupt
    call = {"tokens": result.usage.tokens, "calls": result.usage.calls, "seconds": round(result.seconds, 1)}
    return {"line": prompt.line, "sample": 0, **result.as_dict(), **prompt.given, "call": call}


def describe(generation: Generation, steer: Sequence[str]) -> dict[str, Any]:
    """A generation as one JSON object."""
    tokens = list(generation.trace)
    return {
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
    write: Callable[[Sequence[NumberedPrompt]], list[dict[str, Any]]],
    job: Job | RewindJob,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    room: int | None = None,
) -> list[str]:
    """Continue every prompt of a JSON-lines file; returns the faults of the lines that could not be used.

    Rows are appended to `target` batch by batch; the settings are kept beside it. Interrupted runs resume.

    Args:
        lm: the language model.
        source: objects with a "prompt" or with "messages".
        target: receives the rows of `write`, each with the "line" of its prompt and the number of its "sample".
        write: continues some prompts.
        job: the settings; a later call with other settings is refused.
        batch_size: prompts written together.
        progress: called with the prompts done and the prompts in all.
        room: prompts of this many tokens or more are faults, as the contexts of rewards require; see `steer_room`.

    Raises:
        InvalidData: no such file, no usable prompt in it, or a `target` that other settings wrote.
        InvalidSetting: batch_size below 1.
    """
    if batch_size < 1:
        raise InvalidSetting(f"got batch_size={batch_size}, expected at least 1")
    prompts, faults = read_prompts(source, lm.engine.codec, job.chat, job.system, room)
    if not prompts:
        raise InvalidData(f"{str(source)!r} has no usable prompt; first fault: {(faults or ['it is empty'])[0]}")
    claim(target, job)
    finished = finished_lines(target, job.samples, {prompt.line: prompt.given for prompt in prompts})
    waiting = [prompt for prompt in prompts if prompt.line not in finished]
    done = len(prompts) - len(waiting)
    progress(done, len(prompts))
    for batch in _batches(waiting, batch_size):
        append_rows(target, write(batch))
        done += len(batch)
        progress(done, len(prompts))
    return faults


def steer_room(steer: Steer | None) -> int | None:
    """The shortest context among the rewards of a steer, in tokens of the prompt and the text; None without one."""
    rewards = distinct_rewards([steer])
    return min((reward.context_length - reward.extra_tokens for reward in rewards), default=None)


def read_prompts(
    source: Path, codec: TextCodec, chat: bool, system: str | None, room: int | None = None
) -> tuple[list[NumberedPrompt], list[str]]:
    """The prompts of a file that can be continued, and the faults of the other lines."""
    prompts, faults = [], []
    for line in read_lines(source):
        if line.row is None:
            faults.append(str(line.fault))
            continue
        try:
            prompt = as_prompt(line.row, chat, system)
            length = len(codec.encode_prompt(prompt))
            if room is not None and length >= room:
                raise InvalidPrompt(
                    f"got a prompt of {length} tokens, expected fewer than a reward's context of {room}"
                )
        except InvalidPrompt as error:
            faults.append(f"line {line.number}: {error}")
            continue
        given: dict[str, Any] = {key: line.row[key] for key in ("messages", "prompt") if key in line.row}
        prompts.append(NumberedPrompt(line.number, prompt, given))
    return prompts, faults


def claim(target: Path, job: Job | RewindJob) -> None:
    """Write the settings beside a new target.

    Raises:
        InvalidData: other settings wrote the target, or it is to be compressed.
    """
    if target.suffix == ".gz":
        raise InvalidData(f"got {str(target)!r} to write, expected a plain .jsonl file: a compressed one cannot resume")
    settings = json.dumps(asdict(job), indent=2)
    record = target.with_name(target.name + SETTINGS_SUFFIX)
    if target.exists() and target.stat().st_size:
        if not record.exists() or record.read_text(encoding="utf-8") != settings:
            raise InvalidData(f"{str(target)!r} was written with other settings; remove it or choose another --output")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(settings, encoding="utf-8")


def finished_lines(target: Path, samples: int, prompts: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """The lines of the prompts that have all their samples; rows of a half-written batch are removed.

    Raises:
        InvalidData: a row does not answer the prompt of its line.
    """
    drop_torn_line(target)
    if not target.exists():
        return set()
    rows = [line.row for line in read_lines(target) if line.row]
    for row in rows:
        given = prompts.get(row.get("line", 0))
        if given is None or any(row.get(key) != value for key, value in given.items()):
            raise InvalidData(f"{str(target)!r} answers other prompts than --input has; choose another --output")
    counts = Counter(row["line"] for row in rows)
    finished = {line for line, count in counts.items() if count == samples}
    if len(finished) < len(counts):
        kept = target.with_name(target.name + ".kept")
        kept.unlink(missing_ok=True)
        append_rows(kept, [row for row in rows if row["line"] in finished])
        kept.replace(target)
    return finished


def _batches(prompts: Sequence[NumberedPrompt], size: int) -> Iterator[Sequence[NumberedPrompt]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
