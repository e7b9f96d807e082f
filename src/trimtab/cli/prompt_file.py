"""Prompts on the command line or in a file: checks before a model loads, the seed, and the run over a file."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.data.visible import count_of
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeGuard

    from trimtab.jobs import Job, NumberedPrompt, RewindJob
    from trimtab.judges.base import Judge
    from trimtab.language_model import LanguageModel
    from trimtab.models.codec import Prompt, TokenizerCodec
    from trimtab.steering.steer import Steer


def check_sources(
    prompts: list[str] | None, source: Path | None, target: Path | None, batch_size: int = 1, force: bool = False
) -> None:
    """Refuse what cannot be continued before any model is loaded.

    Args:
        prompts, source, target, batch_size: as typed.
        force: whether what --output holds is replaced.

    Raises:
        InvalidSetting: neither or both of prompts and --input, one of --input and --output, or a batch below 1.
        InvalidData: --input is no file, or --output cannot resume.
        InvalidOutput: --output cannot be written, or is the input.
        InvalidPrompt: a prompt is empty.
    """
    if prompts and source:
        raise InvalidSetting("got prompts and --input, expected one of them; --input goes with --output")
    if (source is None) != (target is None):
        raise InvalidSetting("got one of --input and --output, expected both or neither; - is standard input or output")
    if not prompts and not source:
        raise InvalidSetting("got no prompts, expected some, or --input and --output")
    if batch_size < 1:
        raise InvalidSetting(f"got --batch-size {batch_size}, expected at least 1")
    if "" in (prompts or []):
        raise InvalidPrompt("got an empty prompt, expected text to continue")
    if source is not None and target is not None:
        check_files(source, target, force)


def check_files(source: Path, target: Path, force: bool) -> None:
    """Refuse an input that is not there, and an output that cannot be written. Errors as in `check_sources`."""
    from trimtab.data.jsonlines import STANDARD_STREAM, check_input
    from trimtab.jobs.target_path import check_target_path, is_pipe

    check_input(source)
    if str(target) != STANDARD_STREAM and not is_pipe(target):
        check_target_path(target, source, force)


def check_prompts(
    prompts: list[str] | None,
    chat: bool,
    system: str | None,
    model: str,
    steer: "Sequence[str]",
    method: str | None,
    source: Path | None = None,
    retokenize: bool = False,
) -> "TokenizerCodec":
    """Refuse prompts and steers that do not fit the model, by its tokenizer and the rewards' cards alone.

    A file of prompts is read; standard input and pipes are not, because they can be read only once. Settings in its
    rows, which nothing reads, are named.

    Raises:
        ModelNotFound, InvalidPrompt, InvalidSetting, RewardNotFound, RewardMismatch, UnknownAttribute, CorruptReward.
    """
    from rich.text import Text

    from trimtab.cli.console import error_console
    from trimtab.jobs.prompts import number_prompts, unread_settings, usable_prompts
    from trimtab.models.loading import load_codec
    from trimtab.rewards.registry import check_steers

    check_steers(steer, method)
    codec = load_codec(model)
    check_steers(steer, method, codec, retokenize)
    for numbered in number_prompts(prompts or [], chat, system):
        codec.encode_prompt(numbered.prompt)
    if source is not None and source.is_file():
        usable_prompts(source, codec, chat, system)
        if unread := unread_settings(source):
            told = f"note: {', '.join(unread)} in rows of --input: not read, because options hold for all rows"
            error_console().print(Text(told, "yellow"), soft_wrap=True)
    return codec


def check_resume(
    source: Path | None, target: Path | None, codec: "TokenizerCodec", job: "Job | RewindJob", force: bool
) -> None:
    """Refuse an --output that cannot be resumed, before any weights load; not with --force.

    Standard input and pipes are not compared with it, because they can be read only once.

    Raises:
        InvalidData: it was written with other settings, is damaged, or answers other prompts than --input has.
    """
    from trimtab.jobs.prompts import usable_prompts
    from trimtab.jobs.targets import FileTarget

    if not resumes(target, force):
        return
    file, prompts = FileTarget(target), None
    file.check_job(job)
    if source is not None and source.is_file():
        found, _ = usable_prompts(source, codec, job.chat, job.system)
        prompts = {each.line: each.given for each in found}
    file.check_rows(prompts)


def resumes(target: Path | None, force: bool) -> "TypeGuard[Path]":
    """Whether a run into a target resumes: it is a file with content, and there is no --force."""
    from trimtab.data.jsonlines import STANDARD_STREAM
    from trimtab.jobs.target_path import has_content, is_pipe

    if target is None or force or str(target) == STANDARD_STREAM or is_pipe(target):
        return False
    return has_content(target)


def resolve_seed(typed: int | None, target: Path | None) -> int:
    """The seed that was typed; or the one that an interrupted run drew; or a new one."""
    from trimtab.jobs.targets import drawn_seed

    return typed if typed is not None else drawn_seed(target) if target else secrets.randbits(32)


def run_with_progress(
    lm: "LanguageModel",
    source: Path,
    target: Path,
    write: "Callable[[Sequence[NumberedPrompt]], list[dict[str, Any]]]",
    job: "Job | RewindJob",
    batch_size: int,
    steer: "Steer | None",
    judge: "Judge | None" = None,
    force: bool = False,
    by: "Steer | Judge | None" = None,
) -> None:
    """Continue a file of prompts. Bad lines are named at the end and make the exit status 1."""
    from trimtab.cli.console import error_console, first_faults
    from trimtab.cli.progress import counting
    from trimtab.engines.provenance import provenance
    from trimtab.jobs import run_file
    from trimtab.jobs.targets import open_target
    from trimtab.judges.base import description_of
    from trimtab.rewind.new_search import room_for_text
    from trimtab.steering.steer import Steer

    ranking_steer, ranking_judge = (by, None) if isinstance(by, Steer) else (None, by)

    def check(prompt: "Prompt", ids: "Sequence[int]") -> None:
        room_for_text(lm.engine.codec, prompt, ids, steer, judge)
        room_for_text(lm.engine.codec, prompt, ids, ranking_steer, ranking_judge)

    about = provenance(lm.engine, steer)
    if judge is not None:
        about["judge"] = description_of(judge)
    if by is not None:
        about["by"] = by.describe() if isinstance(by, Steer) else [description_of(by)]
    with open_target(target, source, force) as rows, counting("prompts", error_console()) as progress:
        faults = run_file(lm, source, rows, write, job, batch_size, progress, check, about)
    if faults:
        named = first_faults(faults)
        raise InvalidData(f"{source}: {count_of(len(faults), 'line')} skipped, all others are in {target}: {named}")
