"""The rewards that a teacher gives to training texts. They are computed once and kept in a folder for all students."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from trimtab.data.tables import digest_of
from trimtab.errors import InvalidData
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.rewards.candidate_scores import base_candidates, score_candidates
from trimtab.rewards.network import reward_tensors
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.distributed import evaluating, processes

SHARD_TEXTS = 256
BATCH_CANDIDATES = 8192  # teacher forwards in one batch
TARGETS_FILE = "targets.json"
HELD_OUT = "held-out"


@final
@dataclass(frozen=True)
class Target:
    """A teacher's rewards of one text.

    Attributes:
        observed: the reward after each token of the text.
        candidates: the base's k most likely tokens in each place; k may be 0.
        rewards: the reward of each candidate in that place.
    """

    observed: Float[Tensor, "tokens attributes"]
    candidates: Int[Tensor, "tokens k"]
    rewards: Float[Tensor, "tokens k attributes"]


@final
@dataclass(frozen=True)
class TargetSettings:
    """Everything that a teacher's rewards depend on. A folder with other settings is refused."""

    teacher: str
    base: str
    texts: str
    candidates: int
    bf16: bool


def teacher_rewards(
    teacher: RewardModel,
    base: FrozenLM,
    texts: Sequence[Sequence[int]],
    candidates: int,
    folder: Path,
    bf16: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Target]:
    """The teacher's rewards of texts, shard by shard. Shards that an earlier run finished are read from the folder.

    Args:
        teacher: a reward with any head. With candidates, a V-head costs 1 + k token forwards per token.
        base: its most likely tokens are the candidates.
        texts: token ids.
        candidates: k; 0 for the rewards of the text's own tokens only. A folder made with candidates also serves 0.
        folder: the folder that keeps the rewards.
        bf16: compute in bfloat16.
        progress: called with the number of texts done and of all texts.

    Raises:
        InvalidData: the folder belongs to another teacher, base or set of texts, or holds a damaged file.
    """
    settings = TargetSettings(teacher_digest(teacher), base.base_fingerprint, digest_of(texts), candidates, bf16)
    found: list[Target] = []
    with processes().main_process_first():  # The main process scores; the others read its files.
        _claim(folder, settings)
        for number, start in enumerate(range(0, len(texts), SHARD_TEXTS)):
            some = texts[start : start + SHARD_TEXTS]
            path = folder / f"{number:06}.safetensors"
            if not path.exists():
                _write_shard(path, _score_shard(teacher, base, some, candidates, bf16))
            found += _read_shard(path, [len(ids) for ids in some])
            progress(len(found), len(texts))
    return found


def teacher_digest(teacher: RewardModel) -> str:
    """A hash of a teacher's own weights and of its base."""
    digest = hashlib.sha256(teacher.card.base_fingerprint.encode())
    for name, weight in sorted(reward_tensors(teacher.network, teacher.card.trunk).items()):
        digest.update(name.encode() + weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _score_shard(
    teacher: RewardModel, base: FrozenLM, texts: Sequence[Sequence[int]], k: int, bf16: bool
) -> list[Target]:
    found: list[Target | None] = [None] * len(texts)
    ordered = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    while ordered:
        rows = max(1, BATCH_CANDIDATES // (len(texts[ordered[0]]) * (1 + k)))
        places, ordered = ordered[:rows], ordered[rows:]
        batch = base.batch([texts[i] for i in places])
        with evaluating(teacher.network, bf16):
            observed = teacher.network.head.link(teacher.network(batch.ids, batch.mask).values).float().cpu()
            candidates, rewards = _score_candidates(teacher, base, batch, k)
        for row, i in enumerate(places):
            tokens = len(texts[i])
            found[i] = Target(observed[row, -tokens:], candidates[row, -tokens:], rewards[row, -tokens:])
    return [target for target in found if target is not None]


def _score_candidates(
    teacher: RewardModel, base: FrozenLM, batch: PromptBatch, k: int
) -> tuple[Int[Tensor, "rows tokens k"], Float[Tensor, "rows tokens k attributes"]]:
    if not k:
        empty = torch.zeros((*batch.ids.shape, 0), dtype=torch.int32)
        return empty, torch.zeros((*empty.shape, teacher.network.attributes))
    found = base_candidates(base, batch, k)
    rewards = score_candidates(teacher.network, batch.ids, batch.mask, found.token_ids)
    return found.token_ids.int().cpu(), rewards.float().cpu()


def _write_shard(path: Path, targets: Sequence[Target]) -> None:
    partial = path.with_suffix(".partial")
    names = ("observed", "candidates", "rewards")
    save_file({name: torch.cat([getattr(target, name) for target in targets]) for name in names}, partial)
    partial.replace(path)


def _read_shard(path: Path, lengths: Sequence[int]) -> list[Target]:
    try:
        parts = load_file(path)
        split = [parts[name].split(list(lengths)) for name in ("observed", "candidates", "rewards")]
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise InvalidData(f"cannot read the teacher's rewards in {str(path)!r} ({error}); remove the file") from error
    return [Target(*of_text) for of_text in zip(*split, strict=True)]


def _claim(folder: Path, settings: TargetSettings) -> None:
    record = folder / TARGETS_FILE
    wanted = asdict(settings)
    if not record.is_file():
        if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {HELD_OUT}):
            raise InvalidData(
                f"got {str(folder)!r} for a teacher's rewards, expected a new or empty folder, or one of these rewards"
            )
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        return
    try:
        kept = dict(json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder") from error
    serves = kept | {"candidates": settings.candidates} if not settings.candidates else kept
    if serves != wanted:
        differing = [f"{n}: {kept.get(n)} there, {wanted[n]} here" for n in wanted if serves.get(n) != wanted[n]]
        raise InvalidData(
            f"{str(folder)!r} holds other rewards ({'; '.join(differing)}); remove it, or choose another folder"
        )
