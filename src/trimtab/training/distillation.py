"""The objective of a student: the squared error to a teacher's rewards, and the texts that carry them."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from trimtab.models.frozen_lm import PromptBatch
from trimtab.rewards.heads.base import PrefixRewards, RewardHead, take_slots
from trimtab.training.examples import Examples, TokenizedTexts
from trimtab.training.objectives import Loss, squared_error
from trimtab.training.recipe import DistilTarget
from trimtab.training.target import Target
from trimtab.training.trainer import Batch

EARLIER = {"observed": (0, 0, 1, 0), "taught": (1, 0)}  # how each part of a batch is shifted by a token


@final
class TeacherExamples(Examples):
    """The first tokenized texts, each with its teacher's rewards; texts for which there are none are left out."""

    def __init__(self, texts: TokenizedTexts, targets: Sequence[Target]):
        self.texts, self.targets = texts, targets

    @property
    def digest(self) -> str:
        """A hash of the texts; the rewards are not part of it."""
        return self.texts.digest

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.texts[index], "target": self.targets[index]}


@final
class Distillation:
    """The squared error to a teacher's rewards, at every token (2407.04615).

    orig: r̂(x_t | x_<t) → r(x_≤t). delta: r̂(x_t | x_<t) → r(x_≤t) − r(x_<t), from the second token on.

    Differs from the paper: the target "candidates" is ours. It is orig, plus the rewards of the base's k most likely
    tokens in the places that the teacher scored, averaged over all these tokens. In the first place these are the most
    likely tokens after BOS. The first place is left out if the student or the teacher puts no BOS before a text.

    Args:
        target: one of these three.
        pad_token_id: pads the batches.
        from_zero: the reward before the first token is 0, so that delta has a target for this token, too.
    """

    def __init__(self, target: DistilTarget, pad_token_id: int, from_zero: bool = False):
        self.target, self.from_zero = target, from_zero
        self.pad_token_id = pad_token_id

    def collate(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Ids, mask and targets, all left-padded."""
        batch = PromptBatch.pad([example["input_ids"] for example in examples], self.pad_token_id, torch.device("cpu"))
        targets = [example["target"] for example in examples]
        padded = {"ids": batch.ids, "mask": batch.mask, "observed": pad_left([t.observed for t in targets])}
        padded["taught"] = pad_left([t.known for t in targets])
        if self.target == "candidates":
            width = batch.ids.shape[1]
            padded["slots"] = pad_left([t.places.long() + width - len(t.known) for t in targets])
            padded["asked"] = pad_left([t.scored for t in targets])
            padded["candidates"] = pad_left([t.candidates.long() for t in targets])
            padded["rewards"] = pad_left([t.rewards for t in targets])
        return padded

    def loss(self, scored: PrefixRewards, head: RewardHead, batch: Batch) -> Loss:
        """The squared error to the teacher."""
        observed, known = batch["observed"], scored.known & batch["taught"]
        if self.target == "orig":
            return squared_error(scored.values, observed, known)
        if self.target == "delta":
            earlier, second_on = (functional.pad(batch[part][:, :-1], pad) for part, pad in EARLIER.items())
            has_target = known if self.from_zero else known & second_on
            return squared_error(scored.values, observed - earlier, has_target)
        of_tokens = squared_error(scored.values, observed, known)
        answers = head.predict(take_slots(scored.before, batch["slots"]), batch["candidates"])
        asked = batch["asked"] & scored.known.gather(1, batch["slots"])[..., None]
        return of_tokens.merged(squared_error(answers, batch["rewards"], asked))


def pad_left(parts: Sequence[Tensor]) -> Tensor:
    """Left-pad along the first axis and stack."""
    width = max(len(part) for part in parts)
    return torch.stack([torch.cat([part.new_zeros((width - len(part), *part.shape[1:])), part]) for part in parts])
