"""Continues batches of prompts on another machine, which loads the model itself."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, final

from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidPrompt
from trimtab.jobs.batch_faults import write_batch
from trimtab.jobs.job import Job
from trimtab.jobs.prompts import NumberedPrompt, as_prompt
from trimtab.jobs.rows import write_prompts
from trimtab.jobs.shard_file import Batch, Written
from trimtab.language_model import LanguageModel
from trimtab.loading import load
from trimtab.rewards.registry import load_steers
from trimtab.rewind.new_search import room_for_text
from trimtab.steering.steer import Steer


def batch_work(batch: Batch) -> dict[str, Any]:
    """A batch as JSON."""
    return {"shard": batch.shard, "prompts": [[prompt.line, prompt.given] for prompt in batch.prompts]}


def read_written(answer: Mapping[str, Any]) -> Written:
    """What became of a batch."""
    return Written(answer["shard"], answer["rows"], dict(answer["faults"]), answer["about"])


@final
class BatchWriter:
    """Continues batches of prompts. The model is loaded with the first one.

    Args:
        job: the settings.
        draft: what drafts tokens; see `load`.
        engine_options: of vLLM; see `load`.
    """

    def __init__(self, job: Job, draft: str | None = None, engine_options: Mapping[str, object] | None = None):
        self._job, self._draft, self._options = job, draft, engine_options

    def __call__(self, work: Mapping[str, Any]) -> dict[str, Any]:
        """Continue a batch that `batch_work` has described; `read_written` reads the answer.

        Raises:
            TrimtabError: the model or a reward cannot be loaded, or a text cannot be written.
        """
        prompts, faults = self._usable(work["prompts"])
        rows, unwritten = write_batch(self._write, prompts) if prompts else ([], {})
        return {"shard": work["shard"], "rows": rows, "faults": [*faults, *unwritten.items()], "about": self.about}

    @cached_property
    def lm(self) -> LanguageModel:
        """The model of the job."""
        job = self._job
        return load(
            job.model,
            dtype=job.dtype,
            batch_invariant=job.batch_invariant,
            engine=job.engine,
            engine_options=self._options,
            draft=self._draft,
        )

    @cached_property
    def steer(self) -> Steer | None:
        """The steer of the job."""
        return load_steers(self._job.steer, self._job.method, self.lm.base, self._job.retokenize)

    @cached_property
    def about(self) -> dict[str, Any]:
        """The provenance of all rows."""
        return provenance(self.lm.engine, self.steer)

    def _write(self, prompts: Sequence[NumberedPrompt]) -> list[dict[str, Any]]:
        return write_prompts(self.lm, prompts, self.steer, self._job)

    def _usable(self, given: Sequence[tuple[int, Mapping[str, Any]]]) -> tuple[list[NumberedPrompt], list[Any]]:
        """The prompts that leave room for a text, and the faults of the others with their lines."""
        codec, prompts, faults = self.lm.engine.codec, [], []
        for line, row in given:
            prompt = as_prompt(row, self._job.chat, self._job.system)
            try:
                room_for_text(codec, prompt, codec.encode_prompt(prompt), self.steer, None)
                prompts.append(NumberedPrompt(line, prompt, row))
            except InvalidPrompt as error:
                faults.append([line, str(error)])
        return prompts, faults
