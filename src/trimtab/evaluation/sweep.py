"""The sweep: every method over every prompt set, each text written once; stopped, it goes on where it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trimtab.best_of import without_eos
from trimtab.errors import InvalidSetting
from trimtab.evaluation.methods import Method
from trimtab.evaluation.prompts import PromptSet
from trimtab.evaluation.rows import SUFFIX, RowFile
from trimtab.evaluation.settings import SweepSettings
from trimtab.files import file_name
from trimtab.frozen.memory import Memory
from trimtab.generation import Generation
from trimtab.lm import LanguageModel

DIGITS = 5
Progress = Callable[["Row", int, int], None]


class Row(NamedTuple):
    """One method on one prompt set."""

    prompts: PromptSet
    method: Method

    @property
    def name(self) -> str:
        """Of its file."""
        method = self.method.name if self.method.beta is None else f"{self.method.name}={self.method.beta:g}"
        return file_name(f"{self.prompts.name}--{self.prompts.direction}--{method}")


@final
@dataclass(frozen=True)
class Sweep:
    """A comparison.

    Attributes:
        task: what it is about.
        rows: methods on prompt sets.
        settings: what all rows share.
        folder: where the texts go, a file a row.
    """

    task: str
    rows: Sequence[Row]
    settings: SweepSettings
    folder: Path

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidSetting(f"got two rows named {min(twice)!r}, expected different rewards, β and prompt sets")

    def run(self, lm: LanguageModel, progress: Progress = lambda row, done, total: None) -> list[Row]:
        """Write what is missing.

        Several processes may run the same sweep: each takes rows that no other holds.

        Args:
            lm: the language model.
            progress: called with a row, its prompts done and its prompts in all.

        Returns:
            The rows left to other processes.
        """
        left = []
        for row in self.rows:
            file = RowFile(self.folder / f"{row.name}{SUFFIX}", self.about(row, lm))
            with file.claimed() as ours:
                if ours:
                    self._write(row, file, lm, progress)
                else:
                    left.append(row)
        return left

    def about(self, row: Row, lm: LanguageModel) -> dict[str, Any]:
        """Everything that decides the texts of a row."""
        shared = asdict(self.settings)
        del shared["limit"]  # what it cuts, the prompts' digest tells
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
            "dtype": str(lm.frozen.model.dtype).removeprefix("torch."),
            "base_fingerprint": lm.frozen.base_fingerprint,
        }

    def _write(self, row: Row, file: RowFile, lm: LanguageModel, progress: Progress) -> None:
        batches = list(self._batches(row.prompts))
        start = file.resume([len(batch) * self.settings.samples for batch in batches])
        done = sum(len(batch) for batch in batches[:start])
        progress(row, done, len(row.prompts.prompts))
        for batch in batches[start:]:
            memory = Memory()
            prompts = [row.prompts.prompts[place] for place in batch]
            written = row.method.write(LanguageModel(lm.frozen, memory), prompts)
            encoded = _rounded(memory.spent.tokens / (len(batch) * self.settings.samples))
            file.append(
                {"place": place, "sample": sample, **describe(generation, lm), "encoded": encoded}
                for place, of_prompt in zip(batch, written, strict=True)
                for sample, generation in enumerate(of_prompt)
            )
            done += len(batch)
            progress(row, done, len(row.prompts.prompts))

    def _batches(self, prompts: PromptSet) -> Iterator[range]:
        """Always the same batches: what is in one decides the last bits of a low-precision model's numbers."""
        for start in range(0, len(prompts.prompts), self.settings.batch_size):
            yield range(start, min(start + self.settings.batch_size, len(prompts.prompts)))


def describe(generation: Generation, lm: LanguageModel) -> dict[str, Any]:
    """What is kept of a text: enough to compute every figure of its row again.

    `base_logprobs` are the unsteered model's, over its whole vocabulary, of the text's tokens; `kl` is
    KL(steered ‖ unsteered) of each of their distributions, in nats, and `flips` whether its first choice changed.
    An EOS at the end is no part of the text and of none of these. The sweep adds `encoded`, the tokens that went
    through all models for it, its share of the batch.
    """
    ids = without_eos(generation.token_ids, lm.frozen)
    choices = [token.choice for token in generation.trace][: len(ids)]
    steered = _padded([choice.steered_logprobs for choice in choices])
    base = _padded([choice.base_logprobs for choice in choices])
    kept = steered > -torch.inf
    kl = (steered.exp() * (steered - base).masked_fill(~kept, 0)).sum(-1)
    names = list(choices[0].rewards) if choices else []
    return {
        "prompt": generation.prompt,
        "text": generation.text,
        "token_ids": ids,
        "finish_reason": generation.finish_reason,
        "base_logprobs": [_rounded(choice.base_logprob) for choice in choices],
        "kl": [_rounded(value) for value in kl],
        "flips": [int(choice.flipped) for choice in choices],
        "rewards": {name: [_rounded(choice.rewards[name][choice.column]) for choice in choices] for name in names},
    }


def _padded(logprobs: list[Tensor]) -> Float[Tensor, "steps k"]:
    """Of as many candidates as the widest step has; a search's steps differ."""
    return pad_sequence(logprobs, batch_first=True, padding_value=-torch.inf) if logprobs else torch.empty(0, 1)


def _rounded(value: Any) -> float:
    return round(float(value), DIGITS)
