"""What a language model makes of the texts that a draft head learns from, computed once and kept in a folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trimtab.data.outputs import partial_path, remove_stale_partials
from trimtab.data.tables import digest_of
from trimtab.errors import InvalidData
from trimtab.training.draft_objective import DraftTask, Targets
from trimtab.training.examples import Examples
from trimtab.training.kept_folder import claim
from trimtab.training.saving import saving

SHARD_TEXTS = 128
BATCH_TEXTS = 8
RECORD = "reads.json"
LENGTHS = "lengths"
NUMBERS = ("ids", "probabilities", "states")


@final
class KeptReads(Examples):
    """Texts with the model's candidates, their probabilities and its hidden states. Finished shards are read again.

    A token takes taps × hidden size numbers, two bytes each, and 6 bytes for each candidate.

    Args:
        texts: token ids.
        task: reads them.
        base: a hash of the language model.
        folder: keeps the shards, for one base, one set of taps and one set of texts.
        progress: called with the number of texts done and of all texts.

    Raises:
        InvalidData: the folder holds other files, or a shard is damaged.
        InvalidOutput: the folder cannot be written.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[int]],
        task: DraftTask,
        base: str,
        folder: Path,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        self.texts = [list(ids) for ids in texts]
        settings = {"base": base, "texts": self.digest, "taps": list(task.head.taps), "top_k": task.top_k}
        claim(folder / RECORD, settings, "what a model makes of texts")
        self._shards: list[tuple[Any, list[int]]] = []
        for number, start in enumerate(range(0, len(texts), SHARD_TEXTS)):
            path, some = folder / f"{number:06}.safetensors", self.texts[start : start + SHARD_TEXTS]
            if not path.exists():
                _write(path, some, task)
            file = _open(path)
            self._shards.append((file, [0, *file.get_tensor(LENGTHS).cumsum(0).tolist()]))
            progress(start + len(some), len(texts))

    @property
    def digest(self) -> str:
        """A hash of the texts."""
        return digest_of(self.texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        shard, place = divmod(index, SHARD_TEXTS)
        file, ends = self._shards[shard]
        read = {name: file.get_slice(name)[ends[place] : ends[place + 1]] for name in NUMBERS}
        ids = self.texts[index]
        return {"input_ids": ids, "length": len(ids), **read}


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """A batch, padded on the right, as `DraftTask` takes it."""
    ids, mask = padded([example["input_ids"] for example in examples])
    read = {name: _stacked([example[name] for example in examples]) for name in NUMBERS if name in examples[0]}
    return {"input_ids": ids, "mask": mask, **read}


def padded(texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids padded on the right, and a mask that is False there."""
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])
    return ids, torch.tensor([[True] * len(text) + [False] * (width - len(text)) for text in texts])


def targets_of(batch: Mapping[str, Tensor]) -> Targets:
    """What the model made of a batch of kept texts."""
    return Targets(batch["ids"].long(), batch["probabilities"].float(), tuple(batch["states"].unbind(2)))


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)


def _write(path: Path, texts: Sequence[Sequence[int]], task: DraftTask) -> None:
    read: list[dict[str, Tensor]] = [{}] * len(texts)
    ordered = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for first in range(0, len(texts), BATCH_TEXTS):
        places = ordered[first : first + BATCH_TEXTS]
        ids, mask = padded([texts[place] for place in places])
        found = task.read(ids.to(task.device))
        whole = (found.ids.int(), found.probabilities.bfloat16(), torch.stack(found.states, dim=2).bfloat16())
        for row, place in enumerate(places):
            kept = (each[row][mask[row]].cpu() for each in whole)
            read[place] = dict(zip(NUMBERS, kept, strict=True))
    tensors = {name: torch.cat([each[name] for each in read]) for name in NUMBERS}
    partial = partial_path(path)
    try:
        with saving(path.parent, "what the model makes of the texts"):
            remove_stale_partials(path)
            save_file({**tensors, LENGTHS: torch.tensor([len(text) for text in texts])}, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise InvalidData(f"cannot read {str(path)!r} ({error}); remove the file") from error
