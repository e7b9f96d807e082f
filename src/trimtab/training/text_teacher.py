"""Teachers that score texts, so that a student of any tokenizer learns from them: a V-head, or a classifier."""

from collections.abc import Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.checking import shown
from trimtab.data.tables import LabelledText
from trimtab.errors import InvalidData
from trimtab.judges.base import one_for_each
from trimtab.judges.text_judges import TextJudge
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewards.card import read_card
from trimtab.rewards.registry import find_reward, load_alone, load_reward
from trimtab.rewards.reward_model import RewardModel
from trimtab.rewards.text_scores import TextScorer
from trimtab.training.examples import encode_all

NOTHING_KEPT = 0.0  # gigabytes; what texts share, they share within one call


@runtime_checkable
class TextTeacher(Protocol):
    """A teacher that reads text and no tokens.

    Attributes:
        name: its name in cards and messages.
        attributes: the names of its scores, in order.
        clamp: the range of its scores, to which the student's rewards are clamped; None for no clamp.
    """

    name: str
    attributes: tuple[str, ...]
    clamp: tuple[float, float] | None

    def describe(self) -> dict[str, str]:
        """Everything that its scores depend on, such as a hash of its weights."""

    def score(self, texts: Sequence[str]) -> Float[Tensor, "texts attributes"]:
        """The scores of whole texts, none of which is empty. Texts may share beginnings."""


AnyTeacher = RewardModel | TextTeacher


@final
class RewardTeacher:
    """A reward with a V-head, as a teacher of texts. It scores them in its own tokens, see `TextScorer`.

    Args:
        reward: the reward.

    Raises:
        InvalidSetting: it has another head, whose score of a text is not a function of its last state.
    """

    def __init__(self, reward: RewardModel):
        self._scorer = TextScorer(reward, PrefixCache(NOTHING_KEPT))
        self.reward = reward
        self.name, self.attributes, self.clamp = reward.name, reward.attributes, reward.card.clamp

    def describe(self) -> dict[str, str]:
        """The hashes of its weights, of its base's weights and of its tokenizer."""
        return {
            "fingerprint": self.reward.fingerprint,
            "base_weights_fingerprint": self.reward.base.base_weights_fingerprint,
            "tokenizer_fingerprint": self.reward.card.tokenizer_fingerprint,
        }

    def score(self, texts: Sequence[str]) -> Float[Tensor, "texts attributes"]:
        """The reward of each whole text, after the head's link.

        Raises:
            InvalidPrompt: a text is longer than the reward's context.
        """
        return self._scorer.score(texts).cpu()


@final
class ClassifierTeacher:
    """A classifier of texts as a teacher: its score is the reward.

    The score is from 0 to 1, as the classifier's judge gives it; the scores of a regression model are unbounded, so the
    student's are not clamped.

    Args:
        judge: the classifier.
        attribute: the name of the student's attribute; default: the classifier's label, or its name.
    """

    def __init__(self, judge: TextJudge, attribute: str | None = None):
        self.judge = judge
        self.name = judge.name
        self.attributes: tuple[str, ...] = (attribute or judge.about.get("label", judge.name),)
        self.clamp: tuple[float, float] | None = (0.0, 1.0) if judge.bounded else None

    def describe(self) -> dict[str, str]:
        """The classifier's name, and what it says about itself: a hash of its weights or the version of its library."""
        return {"classifier": self.judge.name, **self.judge.describe()}

    def score(self, texts: Sequence[str]) -> Float[Tensor, "texts 1"]:
        """The score of each text.

        Raises:
            InvalidData: the classifier does not return one number for each text.
        """
        scores = one_for_each(self.name, self.judge.classify(texts), len(texts))
        try:
            found = torch.tensor([float(score) for score in scores], dtype=torch.float32)[:, None]
        except (TypeError, ValueError) as error:
            raise InvalidData(f"got scores from {shown(self.name)} that are no numbers ({error})") from error
        return 1 - found if self.judge.avoid else found


def as_teacher(teacher: AnyTeacher, base: FrozenLM) -> AnyTeacher:
    """A teacher as a student on `base` needs it: a reward of another tokenizer scores texts.

    Raises:
        InvalidSetting: a reward of another tokenizer that has no V-head.
    """
    if isinstance(teacher, RewardModel) and teacher.card.tokenizer_fingerprint != base.codec.fingerprint:
        return RewardTeacher(teacher)
    return teacher


def load_teacher(name: str, base: FrozenLM) -> RewardModel | RewardTeacher:
    """Load a reward as the teacher of students on a base.

    Args:
        name: a bundled name, a folder or a Hub id.
        base: the students' base. If it has the reward's tokenizer, the reward scores its tokens; otherwise the
            reward's own base is loaded, to the same device and dtype, and the reward scores texts.

    Raises:
        RewardNotFound, CorruptReward: as in `load_reward`.
        RewardMismatch: the reward's card does not say where its base is.
        InvalidSetting: a reward of another tokenizer that has no V-head.
    """
    card = read_card(find_reward(name))
    if card.tokenizer_fingerprint == base.codec.fingerprint:
        return load_reward(name, base)
    card.check_scores_texts(name)
    return RewardTeacher(load_alone(name, base))


def read_unchanged(rows: Sequence[LabelledText], base: FrozenLM, teachers: Sequence[AnyTeacher]) -> list[LabelledText]:
    """The rows that a student can learn on: for teachers of texts, those that its tokenizer gives back as they were.

    Raises:
        InvalidData: there are rows, and none is given back.
    """
    if all(isinstance(each, RewardModel) for each in teachers):
        return list(rows)
    encoded = encode_all(base, [row.text for row in rows])
    kept = [row for row, ids in zip(rows, encoded, strict=True) if ids and base.codec.decode(ids) == row.text]
    if rows and not kept:
        raise InvalidData(
            f"got {len(rows)} texts, none of which the tokenizer of {base.name} gives back as it was; expected a "
            "tokenizer without unknown words, or other texts"
        )
    return kept
