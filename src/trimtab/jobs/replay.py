"""Write the texts of a file again from their provenance, and compare."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, get_args

from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import Line
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidData, TrimtabError
from trimtab.generation import Generation
from trimtab.jobs.comparison import Replayed, compare
from trimtab.jobs.job import Job, RewindJob, job_of
from trimtab.jobs.prompts import NumberedPrompt, as_prompt
from trimtab.jobs.rows import search_prompts
from trimtab.jobs.targets import differences
from trimtab.judges.base import description_of
from trimtab.judges.load import JudgeLike, as_judge
from trimtab.language_model import LanguageModel
from trimtab.models.dtypes import Dtype
from trimtab.steering.steer import Steer

Models = tuple[LanguageModel, Steer | None, JudgeLike | None]
Load = Callable[[Job | RewindJob], Models]


def replay_rows(
    lines: Sequence[Line],
    load_job: Load,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Replayed]:
    """Write the texts of rows again from their provenance, and compare their tokens.

    Args:
        lines: of a file that `trimtab generate` or `trimtab rewind` wrote.
        load_job: loads the language model, the steer and the judge of a job; None for no steer and no judge.
        batch_size: texts written together.
        progress: called with the rows done and the rows in all.

    Returns:
        One result per line, in order.
    """
    found, done = [], 0
    for group in same_provenance(lines).values():
        for result in _replay_group(group, load_job, batch_size):
            found.append(result)
            done += 1
            progress(done, len(lines))
    return sorted(found, key=lambda result: result.number)


def same_provenance(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines, grouped by what made them, so that each model is loaded once."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        record = line.row.get("provenance") if line.row else None
        groups.setdefault(dump_json(record), []).append(line)
    return groups


def _replay_group(group: Sequence[Line], load_job: Load, batch_size: int) -> Iterator[Replayed]:
    """The results of the rows of one provenance."""
    try:
        record = provenance_of(group[0])
        job = in_dtype(job_of(record), record.get("dtype"))
        models = lm, steer, judge = load_job(job)
        check_weights(record, provenance(lm.engine, steer))
        check_judge(record.get("judge"), judge)
    except TrimtabError as error:
        yield from (Replayed(line.number, line.fault or str(error)) for line in group)
        return
    for start in range(0, len(group), batch_size):
        yield from _replay_batch(group[start : start + batch_size], models, job)


def provenance_of(line: Line) -> Mapping[str, Any]:
    """The provenance of a row.

    Raises:
        InvalidData: it has none from which it can be written again.
    """
    record = line.row.get("provenance") if line.row else None
    if not isinstance(record, Mapping):
        raise InvalidData('got a row without provenance, expected one of "--output" or "--json"')
    return record


def in_dtype(job: Job | RewindJob, dtype: object) -> Job | RewindJob:
    """The job in the dtype that wrote its rows, which "auto" leaves to the machine."""
    known: dict[object, Dtype] = {name: name for name in get_args(Dtype)}
    return replace(job, dtype=known[dtype]) if dtype in known else job


def check_weights(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse other weights than the recorded ones.

    Raises:
        InvalidData: the model, or a reward, has another fingerprint, or a reward steers differently.
    """
    for name in ("base_fingerprint", "weights_fingerprint"):
        if recorded.get(name) != here.get(name):
            raise InvalidData(
                f"the model {here['model']!r} has other weights: {name} {here.get(name)}, "
                f"the row has {recorded.get(name)}"
            )
    for name in ("config_fingerprint", "tokenizer_fingerprint", "chat_template_fingerprint"):
        if name in recorded and recorded[name] != here.get(name):  # records of older versions have none
            raise InvalidData(
                f"the model {here['model']!r} is another one: {name} {here.get(name)}, the row has {recorded[name]}"
            )
    steers = [parse_json(dump_json(each.get("steer", []))) for each in (recorded, here)]
    if not isinstance(steers[0], list) or not all(isinstance(term, Mapping) for term in steers[0]):
        raise InvalidData("got a provenance whose steer is no list of rewards")
    for there, found in zip_longest(*steers, fillvalue={}):
        name = there.get("reward", found.get("reward"))
        if there.get("fingerprint") != found.get("fingerprint"):
            raise InvalidData(
                f"the reward {name!r} has other weights: fingerprint {found.get('fingerprint')}, "
                f"the row has {there.get('fingerprint')}"
            )
        named = {"reward", "source", "weights_sha256", "base"}  # the same weights may lie in another file
        named |= {"base_weights_fingerprint"} - set(there)  # in records of older versions
        settings = [{key: value for key, value in each.items() if key not in named} for each in (there, found)]
        if differing := differences(settings[0], settings[1]):
            raise InvalidData(f"the reward {name!r} steers differently ({differing})")


def check_judge(recorded: object, judge: JudgeLike | None) -> None:
    """Refuse another judge than the recorded one.

    Raises:
        InvalidData: they describe themselves differently.
    """
    if judge is None or not isinstance(recorded, Mapping):
        return
    if differing := differences(recorded, description_of(as_judge(judge))):
        raise InvalidData(f"the judge is another one ({differing})")


def _replay_batch(lines: Sequence[Line], models: Models, job: Job | RewindJob) -> Iterator[Replayed]:
    try:
        prompts = [as_prompt(line.row or {}, job.chat, job.system) for line in lines]
        keys = [dump_json(prompt) for prompt in prompts]
        distinct = dict(zip(keys, prompts, strict=True))  # the samples of a prompt are rows of their own
        numbered = [NumberedPrompt(number, prompt, {}) for number, prompt in enumerate(distinct.values(), start=1)]
        again = dict(zip(distinct, _write(numbered, models, job), strict=True))
        for line, key in zip(lines, keys, strict=True):
            yield compare(line, again[key], job)
    except TrimtabError as error:
        yield from (Replayed(line.number, str(error)) for line in lines)


def _write(prompts: Sequence[NumberedPrompt], models: Models, job: Job | RewindJob) -> list[list[Generation]]:
    """The samples of each prompt."""
    lm, steer, judge = models
    if isinstance(job, RewindJob):
        assert judge is not None
        return [[result.generation] for result in search_prompts(lm, prompts, judge, steer, job)]
    return [list(each.samples) for each in lm.generate([each.prompt for each in prompts], steer, job.sampling)]
