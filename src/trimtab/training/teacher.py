"""The rewards that a teacher gives to training texts. They are computed once and kept in a folder for all students."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.checking import shown
from trimtab.data.json_text import dump_json, parse_json
from trimtab.data.outputs import partial_path, remove_stale_partials, set_new_mode, write_whole
from trimtab.data.tables import digest_of
from trimtab.errors import CorruptReward, InvalidData, NonFiniteReward
from trimtab.models.fingerprints import fingerprint_of
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.models.text_fingerprint import text_fingerprint
from trimtab.rewards.candidate_scores import base_candidates, score_candidates
from trimtab.rewards.network import reward_tensors
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.weights import read_sealed, save_sealed
from trimtab.training.distributed import evaluating, processes
from trimtab.training.saving import saving

SHARD_TEXTS = 256
BATCH_CANDIDATES = 8192  # teacher forwards in one batch
TARGETS_FILE = "targets.json"
HELD_OUT = "held-out"
LAYOUT = 3  # of the files in the folder
UNKNOWN = -1
PARTS = ("observed", "known", "candidates", "rewards")


@final
@dataclass(frozen=True)
class Target:
    """A teacher's rewards of one text.

    Attributes:
        observed: the reward after each token of the text.
        known: False at a first token that the teacher cannot score.
        candidates: the base's k most likely tokens in each place; k may be 0. In the first place, they are those after
            BOS (EOS, if there is no BOS), or UNKNOWN if the teacher puts nothing before a text.
        rewards: the reward of each candidate in that place.
    """

    observed: Float[Tensor, "tokens attributes"]
    known: Bool[Tensor, " tokens"]
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
    layout: int = LAYOUT


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
        InvalidOutput: the folder cannot be written.
        NonFiniteReward: the teacher gives a reward that is not finite.
    """
    settings = TargetSettings(
        teacher_digest(teacher), base.base_weights_fingerprint, digest_of(texts), candidates, bf16
    )
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
    own = fingerprint_of(reward_tensors(teacher.network, teacher.card.trunk))
    return text_fingerprint(teacher.base.base_weights_fingerprint + own)


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
            scored = teacher.network(batch.ids, batch.mask)
            observed, known = teacher.network.head.link(scored.values).float().cpu(), scored.known.cpu()
            candidates, rewards = _score_candidates(teacher, base, batch, scored.known, k)
        for row, i in enumerate(places):
            parts = (part[row, -len(texts[i]) :] for part in (observed, known, candidates, rewards))
            found[i] = _checked(Target(*parts), teacher.name)
    return [target for target in found if target is not None]


def _checked(target: Target, teacher: str) -> Target:
    """A target with zeros for what is not known.

    Raises:
        NonFiniteReward: a reward that is known is not finite.
    """
    observed = target.observed.masked_fill(~target.known[:, None], 0)
    rewards = target.rewards.masked_fill((target.candidates == UNKNOWN)[..., None], 0)
    if not (observed.isfinite().all() and rewards.isfinite().all()):
        raise NonFiniteReward(
            f"the teacher {shown(teacher)} gives a reward that is not finite; choose another teacher, or train without "
            "bf16"
        )
    return Target(observed, target.known, target.candidates, rewards)


def _score_candidates(
    teacher: RewardModel, base: FrozenLM, batch: PromptBatch, known: Bool[Tensor, "rows tokens"], k: int
) -> tuple[Int[Tensor, "rows tokens k"], Float[Tensor, "rows tokens k attributes"]]:
    if not k:
        empty = torch.zeros((*batch.ids.shape, 0), dtype=torch.int32)
        return empty, torch.zeros((*empty.shape, teacher.network.attributes))
    found = base_candidates(base, batch, k)
    first = batch.mask & (batch.mask.cumsum(1) == 1)
    token_ids = torch.where((first & ~found.known)[..., None], _opening_candidates(base, k), found.token_ids)
    rewards = score_candidates(teacher.network, batch.ids, batch.mask, token_ids)
    can_open = known & (teacher.network.bos_token_id is not None) & (base.bos_token_id is not None)
    token_ids = token_ids.masked_fill((first & ~can_open)[..., None], UNKNOWN)
    return token_ids.int().cpu(), rewards.float().cpu()


def _opening_candidates(base: FrozenLM, k: int) -> Int[Tensor, " k"]:
    """The base's most likely tokens after BOS alone; any tokens if it has none."""
    opening = torch.tensor([[base.bos_token_id or 0]], device=base.device)
    return base.model(input_ids=opening, use_cache=False).logits[0, -1].topk(k).indices


def _write_shard(path: Path, targets: Sequence[Target]) -> None:
    remove_stale_partials(path)
    partial = partial_path(path)  # another process may write the same file
    try:
        with saving(path.parent, "the teacher's rewards"):
            save_sealed({part: torch.cat([getattr(target, part) for target in targets]) for part in PARTS}, partial)
            set_new_mode(partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_shard(path: Path, lengths: Sequence[int]) -> list[Target]:
    try:
        parts = read_sealed(path)
        split = [parts[name].split(list(lengths)) for name in PARTS]
    except (CorruptReward, KeyError, RuntimeError) as error:
        raise InvalidData(f"cannot read the teacher's rewards in {str(path)!r} ({error}); remove the file") from error
    return [Target(*of_text) for of_text in zip(*split, strict=True)]


def _is_other(path: Path) -> bool:
    return path.name != HELD_OUT and path.suffix != ".partial"  # what killed runs may leave


def _claim(folder: Path, settings: TargetSettings) -> None:
    record = folder / TARGETS_FILE
    wanted = asdict(settings)
    if not record.is_file():
        if folder.exists() and (not folder.is_dir() or any(map(_is_other, folder.iterdir()))):
            raise InvalidData(
                f"got {str(folder)!r} for a teacher's rewards, expected a new or empty folder, or one of these rewards"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with saving(folder, "the settings of the teacher's rewards"):
            write_whole(record, dump_json(wanted, indent=2) + "\n")
        return
    try:
        kept = dict(parse_json(record.read_text(encoding="utf-8")))
    except (InvalidData, ValueError, TypeError) as error:
        raise InvalidData(f"cannot read {str(record)!r}: {error}; remove the folder") from error
    serves = kept | {"candidates": settings.candidates} if not settings.candidates else kept
    if serves != wanted:
        differing = [f"{n}: {kept.get(n)} there, {wanted[n]} here" for n in wanted if serves.get(n) != wanted[n]]
        raise InvalidData(
            f"{str(folder)!r} holds other rewards ({'; '.join(differing)}); remove it, or choose another folder"
        )
