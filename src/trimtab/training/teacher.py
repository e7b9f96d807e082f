"""The rewards that a teacher gives to training texts. They are computed once and kept in a folder for all students."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.checking import shown
from trimtab.data.json_text import dump_json
from trimtab.data.outputs import partial_path, remove_stale_partials, set_new_mode
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
from trimtab.training.kept_folder import TARGETS_FILE, TEACHERS_REWARDS, claim, is_targets
from trimtab.training.saving import saving
from trimtab.training.target import Target, draw_places
from trimtab.training.text_targets import text_targets
from trimtab.training.text_teacher import AnyTeacher

SHARD_TEXTS = 256
TEXT_TEACHER_SHARD = 32  # texts; a text teacher is slower, and a killed run loses one shard
BATCH_CANDIDATES = 2048  # teacher forwards in one batch; larger batches leave the cache of a CPU
LAYOUT = 4  # of the files in the folder
SCORED = "scored"
OF_TOKENS = ("observed", "known")
OF_PLACES = ("places", "candidates", "rewards", SCORED)
COUNTS = "places_of_each_text"


@final
@dataclass(frozen=True)
class TargetSettings:
    """Everything that a teacher's rewards depend on. A folder with other settings is refused."""

    teacher: str
    base: str
    texts: str
    candidates: int
    positions: int | None
    bf16: bool
    layout: int = LAYOUT


def teacher_rewards(
    teacher: AnyTeacher,
    base: FrozenLM,
    texts: Sequence[Sequence[int]],
    candidates: int,
    folder: Path,
    bf16: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    positions: int | None = None,
    contexts: Sequence[int] = (),
) -> list[Target]:
    """The teacher's rewards of texts, shard by shard. Shards that an earlier run finished are read from the folder.

    Args:
        teacher: a reward of the base's tokenizer, with any head; or a teacher of texts. With candidates, a V-head costs
            1 + k token forwards per token.
        base: its most likely tokens are the candidates.
        texts: token ids.
        candidates: k; 0 for the rewards of the text's own tokens only. A finished folder of candidates also serves 0.
        folder: the folder that keeps the rewards.
        bf16: compute in bfloat16.
        progress: called with the number of texts done and of all texts.
        positions: score candidates at this many places of each text, drawn by the text itself; None for all.
        contexts: as in `text_targets`, for a teacher of texts.

    Raises:
        InvalidData: the folder belongs to another teacher, base or set of texts, holds a damaged file, or is unfinished
            with candidates and k is 0.
        InvalidOutput: the folder cannot be written.
        NonFiniteReward: the teacher gives a reward that is not finite.
    """
    texts_digest = digest_of([texts, contexts] if any(contexts) else texts)
    settings = TargetSettings(
        teacher_digest(teacher), base.base_weights_fingerprint, texts_digest, candidates, positions, bf16
    )
    found: list[Target] = []
    with processes().main_process_first():  # The main process scores; the others read its files.
        size = shard_size(teacher)
        starts = range(0, len(texts), size)
        paths = [folder / f"{number:06}.safetensors" for number in range(len(starts))]
        _claim(folder, settings, paths)
        teacher = quick_form(teacher, bf16)
        done = sum(len(texts[start : start + size]) for start, path in zip(starts, paths, strict=True) if path.exists())
        progress(done, len(texts))
        for path, start in zip(paths, starts, strict=True):
            some = texts[start : start + size]
            if not path.exists():
                before = contexts[start : start + size]
                _write_shard(path, targets_of(teacher, base, some, candidates, positions, bf16, before))
                done += len(some)
                progress(done, len(texts))
            found += _read_shard(path, [len(ids) for ids in some])
    return found


def shard_size(teacher: AnyTeacher) -> int:
    """How many texts one file has."""
    return SHARD_TEXTS if isinstance(teacher, RewardModel) else TEXT_TEACHER_SHARD


def folder_of(teacher: AnyTeacher, folder: Path, several: bool) -> Path:
    """Where one teacher's rewards are kept; each of several has a folder in the one of all."""
    return folder / teacher_digest(teacher) if several else folder


def kept_share(teachers: Sequence[AnyTeacher], folder: Path, count: int) -> float:
    """The share of the rewards of so many texts that an earlier run left in a folder."""
    several = len(teachers) > 1
    files = [len(list(folder_of(each, folder, several).glob("*.safetensors"))) for each in teachers]
    kept = [min(number * shard_size(each), count) for number, each in zip(files, teachers, strict=True)]
    return sum(kept) / max(count * len(teachers), 1)


def teacher_digest(teacher: AnyTeacher) -> str:
    """A hash of a teacher's own weights and of its base; of a text teacher, of what it says about itself."""
    if not isinstance(teacher, RewardModel):
        return text_fingerprint(dump_json(teacher.describe(), ascii_only=True))
    own = fingerprint_of(reward_tensors(teacher.network, teacher.card.trunk))
    return text_fingerprint(teacher.base.base_weights_fingerprint + own)


def quick_form(teacher: AnyTeacher, bf16: bool) -> AnyTeacher:
    """A teacher with its adapters merged, unless it computes in bfloat16: there merged adapters lose digits."""
    return teacher.merged() if isinstance(teacher, RewardModel) and not bf16 else teacher


def targets_of(
    teacher: AnyTeacher,
    base: FrozenLM,
    texts: Sequence[Sequence[int]],
    k: int,
    positions: int | None,
    bf16: bool,
    contexts: Sequence[int] = (),
) -> list[Target]:
    """The teacher's rewards of texts, kept nowhere. Arguments and errors as in `teacher_rewards`."""
    if not isinstance(teacher, RewardModel):
        return list(text_targets(teacher, base, texts, k, positions, contexts))
    found: list[Target | None] = [None] * len(texts)
    ordered = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    while ordered:
        longest = len(texts[ordered[0]])
        rows = max(1, BATCH_CANDIDATES // (longest + k * min(longest, positions or longest)))
        some, ordered = ordered[:rows], ordered[rows:]
        for i, target in zip(
            some, _score_texts(teacher, base, [texts[i] for i in some], k, positions, bf16), strict=True
        ):
            found[i] = _checked(target, teacher.name)
    return [target for target in found if target is not None]


def _score_texts(
    teacher: RewardModel, base: FrozenLM, texts: Sequence[Sequence[int]], k: int, positions: int | None, bf16: bool
) -> Iterator[Target]:
    batch = base.batch(texts)
    places = [draw_places(ids, positions, _opens(teacher, base, ids)) if k else [] for ids in texts]
    with evaluating(teacher.network, bf16):
        scored = teacher.network(batch.ids, batch.mask)
        observed, known = teacher.network.head.link(scored.values).float().cpu(), scored.known.cpu()
        candidates, rewards = _score_candidates(teacher, base, batch, places, k)
    for row, ids in enumerate(texts):
        drawn = torch.tensor(places[row], dtype=torch.int32)
        asked, answers = candidates[row, : len(drawn)], rewards[row, : len(drawn)]
        scored_ones = torch.ones(asked.shape, dtype=torch.bool)
        yield Target(observed[row, -len(ids) :], known[row, -len(ids) :], drawn, asked, answers, scored_ones)


def _opens(teacher: RewardModel, base: FrozenLM, ids: Sequence[int]) -> bool:
    """Whether BOS is put before a text, so that its first token has candidates."""
    bos = teacher.network.bos_token_id
    return bos is not None and base.bos_token_id is not None and ids[0] != bos


def _checked(target: Target, teacher: str) -> Target:
    """A target with zeros for what is not known.

    Raises:
        NonFiniteReward: a reward that is known is not finite.
    """
    observed = target.observed.masked_fill(~target.known[:, None], 0)
    if not (observed.isfinite().all() and target.rewards.isfinite().all()):
        raise NonFiniteReward(
            f"the teacher {shown(teacher)} gives a reward that is not finite; choose another teacher, or train without "
            "bf16"
        )
    return replace(target, observed=observed)


def _score_candidates(
    teacher: RewardModel, base: FrozenLM, batch: PromptBatch, places: Sequence[Sequence[int]], k: int
) -> tuple[Int[Tensor, "rows places k"], Float[Tensor, "rows places k attributes"]]:
    most = max(map(len, places))
    if not most:
        empty = torch.zeros((batch.ids.shape[0], 0, k), dtype=torch.int32)
        return empty, torch.zeros((*empty.shape, teacher.network.attributes))
    found = base_candidates(base, batch, k)
    token_ids = found.token_ids
    if any(0 in row for row in places):
        first = batch.mask & (batch.mask.cumsum(1) == 1)
        token_ids = torch.where((first & ~found.known)[..., None], _opening_candidates(base, k), token_ids)
    padded = torch.tensor([[*row, *[0] * (most - len(row))] for row in places], device=base.device)
    slots = padded + batch.ids.shape[1] - batch.mask.sum(1, keepdim=True)
    token_ids = token_ids.gather(1, slots[..., None].expand(*slots.shape, k))
    rewards = score_candidates(teacher.network, batch.ids, batch.mask, token_ids, slots)
    return token_ids.int().cpu(), rewards.float().cpu()


def _opening_candidates(base: FrozenLM, k: int) -> Int[Tensor, " k"]:
    """The base's most likely tokens after BOS alone."""
    opening = torch.tensor([[base.bos_token_id]], device=base.device)
    return base.model(input_ids=opening, use_cache=False).logits[0, -1].topk(k).indices


def _write_shard(path: Path, targets: Sequence[Target]) -> None:
    remove_stale_partials(path)
    partial = partial_path(path)  # another process may write the same file
    try:
        with saving(path.parent, "the teacher's rewards"):
            parts = {n: torch.cat([getattr(target, n) for target in targets]) for n in (*OF_TOKENS, *OF_PLACES)}
            save_sealed({**parts, COUNTS: torch.tensor([len(target.places) for target in targets])}, partial)
            set_new_mode(partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_shard(path: Path, lengths: Sequence[int]) -> list[Target]:
    try:
        parts = read_sealed(path)
        counts = parts[COUNTS].tolist()
        parts.setdefault(SCORED, torch.ones(parts["candidates"].shape, dtype=torch.bool))  # absent in older files
        split = [parts[name].split(list(lengths)) for name in OF_TOKENS]
        split += [parts[name].split(counts) for name in OF_PLACES]
    except (CorruptReward, KeyError, RuntimeError) as error:
        raise InvalidData(f"cannot read the teacher's rewards in {str(path)!r} ({error}); remove the file") from error
    return [Target(*of_text) for of_text in zip(*split, strict=True)]


def _claim(folder: Path, settings: TargetSettings, shards: Sequence[Path]) -> None:
    def serves(kept: dict[str, Any]) -> dict[str, Any]:
        return kept if settings.candidates else kept | {"candidates": 0, "positions": settings.positions}

    kept = claim(folder / TARGETS_FILE, asdict(settings), TEACHERS_REWARDS, is_targets, serves)
    if kept["candidates"] != settings.candidates and not all(shard.exists() for shard in shards):
        raise InvalidData(
            f"{str(folder)!r} holds unfinished rewards of a run with candidates={kept['candidates']}; finish that run "
            "first, or choose another folder"
        )
