"""The hidden states that a ladder reads, computed once and kept in a folder: later epochs run the ladder alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trimtab.data.outputs import partial_path, remove_stale_partials
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.models.fingerprints import sample_fingerprint
from trimtab.models.frozen_lm import PromptBatch
from trimtab.rewards.network import RewardNetwork
from trimtab.training.distributed import evaluating, processes
from trimtab.training.examples import Examples
from trimtab.training.kept_folder import claim
from trimtab.training.saving import saving

SHARD_TEXTS = 1024
BATCH_TOKENS = 2048  # larger batches leave the cache of a CPU
STATES = "states"
LENGTHS = "lengths"
RECORD = "states.json"
Collate = Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]


@final
class KeptStates(Examples):
    """Examples with the states of their "input_ids". Shards that an earlier run finished are read from the folder.

    A shard is a file of 1,024 texts. It takes taps × hidden size numbers per token, two bytes each in bfloat16.

    Args:
        examples: the examples.
        network: the network to be trained, which has a ladder.
        pad_token_id: pads the batches.
        folder: keeps the shards, for one base, one set of taps and one set of texts.
        bf16: compute and keep in bfloat16, as training does.
        progress: called with the number of texts done and of all texts.

    Raises:
        InvalidSetting: the examples are pairs of texts.
        InvalidData: the folder holds other states, or a shard is damaged.
        InvalidOutput: the folder cannot be written.
    """

    def __init__(
        self,
        examples: Examples,
        network: RewardNetwork,
        pad_token_id: int,
        folder: Path,
        bf16: bool,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ):
        if "input_ids" not in examples[0]:
            raise InvalidSetting("got keep_states with pairs of texts, expected single texts")
        self.examples = examples
        self._shards: list[Path] = []
        with processes().main_process_first():  # The main process runs the base; the others read its files.
            claim(folder / RECORD, _settings(examples, network, bf16), "the hidden states of texts")
            for number, start in enumerate(range(0, len(examples), SHARD_TEXTS)):
                some = [examples[i] for i in range(start, min(start + SHARD_TEXTS, len(examples)))]
                path = folder / f"{number:06}.safetensors"
                if not path.exists():
                    _write(path, [each["input_ids"] for each in some], network, pad_token_id, bf16)
                self._shards.append(path)
                progress(start + len(some), len(examples))
        self._files = [_open(path) for path in self._shards]
        self._ends = [file.get_tensor(LENGTHS).cumsum(0).tolist() for file in self._files]

    @property
    def digest(self) -> str:
        """A hash of the examples; the states are not part of it."""
        return self.examples.digest

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        shard, place = divmod(index, SHARD_TEXTS)
        ends = self._ends[shard]
        states = self._files[shard].get_slice(STATES)[ends[place - 1] if place else 0 : ends[place]]
        return {**self.examples[index], STATES: states}


def with_states(collate: Collate) -> Collate:
    """A function that makes batches as another does, with the kept states of the examples if they have any."""

    def collate_states(examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        batch = collate(examples)
        if STATES in examples[0]:
            batch[STATES] = _left_padded([example[STATES] for example in examples])
        return batch

    return collate_states


def _left_padded(parts: Sequence[Float[Tensor, "_ taps hidden"]]) -> Float[Tensor, "rows slots taps hidden"]:
    padded = parts[0].new_zeros(len(parts), max(map(len, parts)), *parts[0].shape[1:])
    for row, part in zip(padded, parts, strict=True):
        row[len(row) - len(part) :] = part
    return padded


def _settings(examples: Examples, network: RewardNetwork, bf16: bool) -> dict[str, Any]:
    """Everything that the states depend on, as JSON holds it."""
    assert network.ladder is not None
    base = sample_fingerprint(dict(network.trunk.named_parameters()))
    of_network = {"base": base, "bos_token_id": network.bos_token_id, "taps": list(network.ladder.taps)}
    return {**of_network, "texts": examples.digest, "bf16": bf16}


def _write(path: Path, texts: Sequence[Sequence[int]], network: RewardNetwork, pad_token_id: int, bf16: bool) -> None:
    states = _states_of(texts, network, pad_token_id, bf16)
    lengths = torch.tensor([len(each) for each in states])
    partial = partial_path(path)
    try:
        with saving(path.parent, "the hidden states of the texts"):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale_partials(path)
            save_file({STATES: torch.cat(states), LENGTHS: lengths}, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _states_of(
    texts: Sequence[Sequence[int]], network: RewardNetwork, pad_token_id: int, bf16: bool
) -> list[Float[Tensor, "tokens taps hidden"]]:
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    ordered = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    while ordered:
        rows = max(1, BATCH_TOKENS // len(texts[ordered[0]]))
        places, ordered = ordered[:rows], ordered[rows:]
        batch = PromptBatch.pad([texts[i] for i in places], pad_token_id, network.trunk.device)
        with evaluating(network, bf16):
            mask, states = network.encoder.tapped(batch.ids, batch.mask)
        kept = states.to(torch.bfloat16 if bf16 else torch.float32).cpu()
        for row, i in enumerate(places):
            found[i] = kept[row, mask[row].cpu()]
    return found


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (OSError, SafetensorError) as error:
        raise InvalidData(f"cannot read the hidden states in {str(path)!r} ({error}); remove the file") from error
