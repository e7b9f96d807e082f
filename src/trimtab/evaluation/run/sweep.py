"""The sweep: every method on every prompt set. Each text is written once; interrupted sweeps resume."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trimtab.best_of import without_eos
from trimtab.checking import checked
from trimtab.data.json_text import dump_json, parse_json
from trimtab.engines.provenance import provenance
from trimtab.errors import InvalidSetting
from trimtab.evaluation.run.methods import Method
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.evaluation.run.row_file import SUFFIX, WEIGHTS, RowFile, check_one_reward, read_settings, row_name
from trimtab.evaluation.run.sweep_settings import SweepSettings
from trimtab.generation import Generation
from trimtab.language_model import LanguageModel
from trimtab.models.codec import TextCodec

DIGITS = 5
TEMPLATE = "chat_template_fingerprint"
Progress = Callable[["Row", int, int], None]


class Row(NamedTuple):
    """One method on one prompt set."""

    prompts: PromptSet
    method: Method

    @property
    def name(self) -> str:
        """The name of its file, without suffix."""
        prompts, method = self.prompts, self.method
        about = {"prompts": prompts.name, "direction": prompts.direction, "method": method.name, "beta": method.beta}
        return row_name(about)


@final
@checked
@dataclass(frozen=True)
class Sweep:
    """The rows of a comparison.

    Attributes:
        task: the name of its task.
        rows: methods on prompt sets.
        settings: the settings of all rows.
        folder: the folder of the texts, one file per row; not used where another process writes the files.
    """

    task: str
    rows: Sequence[Row]
    settings: SweepSettings
    folder: Path = Path()

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidSetting(f"got two rows named {min(twice)!r}, expected different rewards, β and prompt sets")

    def run(self, lm: LanguageModel, progress: Progress = lambda row, done, total: None) -> list[Row]:
        """Write the missing texts. Several processes may run one sweep: each takes rows that no other one holds.

        Args:
            lm: the language model.
            progress: called with a row, the number of its prompts done, and of all its prompts.

        Returns:
            The rows that other processes hold.

        Raises:
            InvalidData: a row's file was written with other settings.
        """
        left = []
        for row in self.rows:
            file = self.file(row, lm)
            with file.claimed() as ours:
                if ours:
                    self._write(row, file, lm, progress)
                else:
                    left.append(row)
        return left

    def file(self, row: Row, lm: LanguageModel) -> RowFile:
        """The file of a row."""
        path = self.folder / f"{row.name}{SUFFIX}"
        return RowFile(path, self.about(row, lm), self.made_by(row, lm), row.prompts.prompts)

    def check(self, lm: LanguageModel) -> None:
        """Check that every row that has a file can resume.

        Raises:
            InvalidData: a row's file was written with other settings, or is damaged; or a row of another reward has a
                method's name.
        """
        for row in self.rows:
            self.file(row, lm).check()
        ours = {row.name: self.about(row, lm) for row in self.rows}
        check_one_reward(read_settings(self.folder) | parse_json(dump_json(ours)))

    def made_by(self, row: Row, lm: LanguageModel) -> dict[str, Any]:
        """What writes the texts of a row: versions, the model, device, rewards, sampling and the file of prompts.

        It is recorded and not compared: what decides the texts is in `about`.
        """
        data = {"name": row.prompts.name, "sha256": row.prompts.sha256}
        return provenance(lm.engine, row.method.steered_by, row.method.params, **row.method.record(), data=data)

    def about(self, row: Row, lm: LanguageModel) -> dict[str, Any]:
        """Every setting that decides the texts of a row; a row resumes only with the same ones."""
        shared, engine, form = asdict(self.settings), lm.engine.describe(), self.settings.form
        hashes = ("base_fingerprint", WEIGHTS, *([TEMPLATE] if form.is_chat else []))
        for name in ("limit", "chat", "system"):  # the digest of the prompts, and the form below, cover them
            del shared[name]
        if self.settings.engine == "torch":
            del shared["engine"]  # as in files of versions that had no other
        return {
            "task": self.task,
            "prompts": row.prompts.name,
            "prompts_digest": row.prompts.digest,
            "prompts_count": len(row.prompts.prompts),
            "direction": row.prompts.direction,
            "method": row.method.name,
            "beta": row.method.beta,
            **row.method.about,
            **shared,
            **form.record(),
            "dtype": engine["dtype"],
            **{name: engine[name] for name in hashes if name in engine},
        }

    def batches(self, row: Row) -> list[range]:
        """The same batches each time: in low precision, the last bits of a number depend on its batch."""
        count, size = len(row.prompts.prompts), self.settings.batch_size
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def sizes(self, row: Row) -> list[int]:
        """The number of texts in each batch of a row."""
        return [len(batch) * self.settings.samples for batch in self.batches(row)]

    def write_batch(self, row: Row, batch: range, lm: LanguageModel) -> list[dict[str, Any]]:
        """Write the texts of some prompts of a row, and describe them."""
        session = lm.session()
        texts = [row.prompts.prompts[place] for place in batch]
        written = row.method.write(session, list(map(self.settings.form.prompt, texts)))
        encoded = _rounded(session.engine.usage.tokens / (len(batch) * self.settings.samples))
        return [
            {"place": place, "sample": sample, **describe(text, generation, lm.engine.codec), "encoded": encoded}
            for place, text, of_prompt in zip(batch, texts, written, strict=True)
            for sample, generation in enumerate(of_prompt)
        ]

    def _write(self, row: Row, file: RowFile, lm: LanguageModel, progress: Progress) -> None:
        batches, total = self.batches(row), len(row.prompts.prompts)
        start = file.resume(self.sizes(row))
        done = sum(map(len, batches[:start]))
        progress(row, done, total)
        for batch in batches[start:]:
            file.append(self.write_batch(row, batch, lm))
            done += len(batch)
            progress(row, done, total)


def describe(prompt: str, generation: Generation, codec: TextCodec) -> dict[str, Any]:
    """The record of a text, from which every figure of its row can be computed again.

    `prompt` is the table's text, also where it was sent as a message.

    For each token without a final EOS: `base_logprobs` is the unsteered model's log-probability over its whole
    vocabulary; `kl` is KL(steered ‖ unsteered) of the next-token distributions, in nats; `flips` is 1 if steering
    changed the most likely token. The sweep adds `encoded`: the text's share of the tokens that went through all
    models for its batch.
    """
    ids = without_eos(generation.token_ids, codec)
    choices = [token.choice for token in generation.trace][: len(ids)]
    steered = _padded([choice.steered_logprobs for choice in choices])
    base = _padded([choice.base_logprobs for choice in choices])
    kept = steered > -torch.inf
    kl = (steered.exp() * (steered - base).masked_fill(~kept, 0)).sum(-1)
    names = list(choices[0].rewards) if choices else []
    return {
        "prompt": prompt,
        "text": generation.text,
        "token_ids": ids,
        "finish_reason": generation.finish_reason,
        "base_logprobs": [_rounded(choice.base_logprob) for choice in choices],
        "kl": [_rounded(value) for value in kl],
        "flips": [int(choice.flipped) for choice in choices],
        "rewards": {name: [_rounded(choice.rewards[name][choice.column]) for choice in choices] for name in names},
    }


def _padded(logprobs: list[Tensor]) -> Float[Tensor, "steps k"]:
    """All steps as one tensor, padded with −∞: the steps of a search differ in width."""
    return pad_sequence(logprobs, batch_first=True, padding_value=-torch.inf) if logprobs else torch.empty(0, 1)


def _rounded(value: Any) -> float:
    return round(float(value), DIGITS)
