"""Facts about a student's teachers: what they must agree on, and what its card says about them."""

from collections.abc import Sequence

from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.card import RewardCard
from trimtab.rewards.reward_model import RewardModel
from trimtab.training.recipe import TaughtText
from trimtab.training.target import Target, left_out
from trimtab.training.teacher import teacher_digest
from trimtab.training.text_teacher import AnyTeacher


def shape_of(teacher: AnyTeacher, base: FrozenLM) -> RewardCard | TaughtText:
    """What several teachers of one student must agree on."""
    if isinstance(teacher, RewardModel):
        return teacher.card
    return TaughtText(teacher.attributes, teacher.clamp, base.bos_token_id)


def _weights_of(teacher: AnyTeacher) -> str:
    if isinstance(teacher, RewardModel):
        return teacher.fingerprint
    about = teacher.describe()
    return next((about[name] for name in ("fingerprint", "weights_sha256") if name in about), "unknown")


def facts_of(
    teachers: Sequence[AnyTeacher], targets: Sequence[Target], changed: int, contexts: Sequence[int] = ()
) -> dict[str, object]:
    """Facts about teachers for the card of their student; of teachers of texts also what was left out.

    Args:
        teachers: of the student.
        targets: their rewards of the training texts.
        changed: how many texts were left out, because the tokenizer changes them.
        contexts: how many tokens of each text are the message that it answers.
    """
    facts: dict[str, object] = {
        "teacher": _one_or_all([each.name for each in teachers]),
        "teacher_fingerprint": _one_or_all([teacher_digest(each) for each in teachers]),
        "teacher_weights": _one_or_all([_weights_of(each) for each in teachers]),
    }
    named = [each for each in teachers if not isinstance(each, RewardModel)]
    if not named:
        return facts
    return facts | {
        "teachers_of_texts": {each.name: each.describe() for each in named},
        "texts_changed_by_the_tokenizer": changed,
        "prefixes_and_candidates_without_text": left_out(targets, contexts),
        **({"answers_to_messages": sum(map(bool, contexts))} if any(contexts) else {}),
    }


def _one_or_all(facts: list[str]) -> str | list[str]:
    return facts[0] if len(facts) == 1 else facts
