"""A Ray actor that holds an engine, and the texts by which batches travel to it and back."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from trimtab import errors
from trimtab.data.json_text import dump_json, parse_json
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidPrompt, TrimtabError, out_of_memory
from trimtab.jobs.job import Job
from trimtab.jobs.prompts import NumberedPrompt, as_prompt
from trimtab.jobs.rows import write_prompts
from trimtab.jobs.shard_file import Batch, Written
from trimtab.language_model import LanguageModel
from trimtab.loading import load
from trimtab.rewards.registry import load_steers
from trimtab.rewind.new_search import room_for_text
from trimtab.steering.steer import Steer

if TYPE_CHECKING:
    import pyarrow


def batch_table(batch: Batch) -> "pyarrow.Table":
    """A batch as a table of one row."""
    import pyarrow

    prompts = dump_json([[prompt.line, prompt.given] for prompt in batch.prompts], ascii_only=True)
    return pyarrow.table({"shard": [batch.shard], "text": [prompts]})


def read_answers(table: "pyarrow.Table") -> Iterator[Written]:
    """What became of the batches of a table.

    Raises:
        TrimtabError, MemoryError: the error of the actor that wrote it.
    """
    for row in table.to_pylist():
        answer = parse_json(row["text"])
        if "error" in answer:
            name, message = answer["error"]
            raise {"MemoryError": MemoryError}.get(name, getattr(errors, name, TrimtabError))(message)
        yield Written(row["shard"], answer["rows"], dict(answer["faults"]), answer["about"])


@final
class EngineActor:
    """Continues batches of prompts. The model is loaded with the first one.

    Errors of ours are answers: Ray would retry them, and bring back their texts alone.

    Args:
        job: the settings.
        draft: what drafts tokens; see `load`.
        engine_options: of vLLM; see `load`.
    """

    def __init__(self, job: Job, draft: str | None = None, engine_options: Mapping[str, object] | None = None):
        self._job, self._draft, self._options = job, draft, engine_options

    def __call__(self, table: "pyarrow.Table") -> "pyarrow.Table":
        """Answer each row of a table of batches."""
        import pyarrow

        texts = [dump_json(self._answer(parse_json(text)), ascii_only=True) for text in table["text"].to_pylist()]
        return pyarrow.table({"shard": table["shard"], "text": texts})

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

    def _answer(self, given: Sequence[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
        try:
            prompts, faults = self._usable(given)
            rows = write_prompts(self.lm, prompts, self.steer, self._job) if prompts else []
            return {"rows": rows, "faults": faults, "about": self.about}
        except TrimtabError as error:
            return {"error": [type(error).__name__, str(error)]}
        except Exception as error:
            if out_of_memory(error):
                return {"error": ["MemoryError", str(error)]}
            raise

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
