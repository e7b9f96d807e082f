"""Write the texts of a file again from their provenance, and compare."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final, get_args

from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.jsonlines import Line
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidData, TrimtabError
from trimtab.generation import Generation
from trimtab.jobs.comparison import TOLERANCES, Replayed, compare, numbered, rename_rewards
from trimtab.jobs.job import Job, RewindJob, job_of
from trimtab.jobs.prompts import NumberedPrompt, as_prompt
from trimtab.jobs.ranked_rows import RankedDraft, describe_ranked, rank_prompts
from trimtab.jobs.replay_checks import check_judge, check_weights, names_of
from trimtab.jobs.rows import describe, describe_search, search_prompts
from trimtab.judges.base import Judge
from trimtab.judges.load import JudgeLike
from trimtab.language_model import LanguageModel
from trimtab.models.dtypes import Dtype
from trimtab.rewind.result import SearchResult
from trimtab.steering.steer import Steer, distinct_rewards

Models = tuple[LanguageModel, Steer | None, JudgeLike | None]
Load = Callable[[Job | RewindJob], Models]
Asked = tuple[Line, NumberedPrompt]
Sample = Generation | RankedDraft | SearchResult


def replay_rows(
    lines: Sequence[Line],
    load_job: Load,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Replayed]:
    """Write the texts of rows again from their provenance, and compare the rows.

    Args:
        lines: of a file that `trimtab generate` or `trimtab rewind` wrote.
        load_job: loads the language model, the steer, and the judge of a search or what ranks the drafts of best-of-n;
            None for no steer, and for none of these.
        batch_size: texts written together; all samples of a prompt are written at once.
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
        job = job_of(record)
        if isinstance(job, Job) and job.sampling.seed is None:
            raise InvalidData("got a provenance without a seed, expected the one that wrote the row")
        lm, steer, judge = load_job(in_dtype(job, record.get("dtype")))
        check_weights(record, provenance(lm.engine, steer))
        check_judge(record.get("judge"), judge)
        again = Again(lm, steer, judge, without_drafts(job), names_there(record, steer))
    except TrimtabError as error:
        yield from (Replayed(line.number, line.fault or str(error)) for line in group)
        return
    by_prompt: dict[str, list[Asked]] = {}
    for line in group:
        try:
            prompt = prompt_of(line, job)
        except InvalidData as error:
            yield Replayed(line.number, str(error))
        else:
            by_prompt.setdefault(dump_json(prompt.prompt), []).append((line, prompt))
    waiting, size = list(by_prompt.values()), max(1, batch_size // job.samples)
    for start in range(0, len(waiting), size):
        yield from _replay_prompts(waiting[start : start + size], again)


def _replay_prompts(batch: Sequence[Sequence[Asked]], again: "Again") -> Iterator[Replayed]:
    """The results of the rows of some prompts. If one cannot be written, each is written alone."""
    try:
        written = again.write([rows[0][1] for rows in batch])
    except TrimtabError as error:
        if len(batch) == 1:
            yield from (Replayed(line.number, str(error)) for line, _ in batch[0])
        else:
            for rows in batch:
                yield from _replay_prompts([rows], again)
        return
    for rows, samples in zip(batch, written, strict=True):
        for line, prompt in rows:
            yield again.compare(line, prompt, samples)


@final
@dataclass(frozen=True)
class Again:
    """Writes the rows of a job again.

    Attributes:
        lm, steer, judge: what the job names, loaded; of best-of-n, the judge is what ranks.
        job: the settings, as the rows have them, but for drafts.
        names: the names of rewards in the rows, by their names here, where they differ.
    """

    lm: LanguageModel
    steer: Steer | None
    judge: JudgeLike | None
    job: Job | RewindJob
    names: Mapping[str, str]

    def write(self, prompts: Sequence[NumberedPrompt]) -> list[Sequence[Sample]]:
        """The samples of each prompt."""
        if isinstance(self.job, RewindJob):
            assert self.judge is not None
            return [[result] for result in search_prompts(self.lm, prompts, self.judge, self.steer, self.job)]
        if self.job.ranking is not None:
            assert isinstance(self.judge, Steer | Judge)
            return [*rank_prompts(self.lm, prompts, self.steer, self.judge, self.job)]
        written = self.lm.generate([each.prompt for each in prompts], self.steer, self.job.sampling)
        return [list(each.samples) for each in written]

    def compare(self, line: Line, prompt: NumberedPrompt, samples: Sequence[Sample]) -> Replayed:
        """The result of a row, by the samples of its prompt."""
        row = line.row or {}
        number = row.get("sample")
        if type(number) is not int or not 0 <= number < len(samples):
            return Replayed(line.number, "the row lacks the number of its sample")
        expected = parse_json(dump_json(self._row(prompt, samples[number], "trace" in row)))
        tolerance = TOLERANCES.get(str(expected["provenance"]["dtype"]), TOLERANCES["bfloat16"])
        return compare(line, rename_rewards(expected, self.names), tolerance)

    def _row(self, prompt: NumberedPrompt, written: Sample, trace: bool) -> dict[str, Any]:
        if isinstance(written, SearchResult):
            assert isinstance(self.job, RewindJob)
            return describe_search(prompt, written, self.job)
        assert isinstance(self.job, Job)
        job = replace(self.job, trace=self.job.trace or trace)
        if isinstance(written, RankedDraft):
            return describe_ranked(prompt, written, job)
        found = describe(written, job)
        return {"line": prompt.line, "sample": written.sample, **prompt.given, **found}


def provenance_of(line: Line) -> Mapping[str, Any]:
    """The provenance of a row.

    Raises:
        InvalidData: it has none from which it can be written again.
    """
    record = line.row.get("provenance") if line.row else None
    if not isinstance(record, Mapping):
        raise InvalidData('got a row without provenance, expected one of "--output" or "--json"')
    return record


def prompt_of(line: Line, job: Job | RewindJob) -> NumberedPrompt:
    """The prompt of a row.

    Raises:
        InvalidData: the line is no row, or has no prompt.
    """
    row = line.row or {}
    try:
        prompt = as_prompt(row, job.chat, job.system)
    except TrimtabError as error:
        raise InvalidData(line.fault or str(error)) from error
    return NumberedPrompt(line.number, prompt, {key: row[key] for key in ("messages", "prompt") if key in row})


def in_dtype(job: Job | RewindJob, dtype: object) -> Job | RewindJob:
    """The job in the dtype that wrote its rows, which "auto" leaves to the machine."""
    known: tuple[Dtype, ...] = get_args(Dtype)
    return next((replace(job, dtype=name) for name in known if name == dtype), job)


def without_drafts(job: Job | RewindJob) -> Job | RewindJob:
    """The job, token by token: drafts change no text, and may need files."""
    if isinstance(job, RewindJob):
        return replace(job, settings=replace(job.settings, speculate=None))
    return replace(job, sampling=replace(job.sampling, speculate=None))


def names_there(record: Mapping[str, Any], steer: Steer | None) -> dict[str, str]:
    """The names of rewards in the rows of a provenance by their names here; those that are the same are left out."""
    terms = steer.terms if steer else ()
    first = [next(n for n, term in enumerate(terms) if term.reward is each) for each in distinct_rewards([steer])]
    there, here = names_of(record["steer"]), [term.reward.name for term in terms]
    pairs = zip(numbered([here[n] for n in first]), numbered([there[n] for n in first]), strict=True)
    return {name: recorded for name, recorded in pairs if name != recorded}
