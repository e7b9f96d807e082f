"""The scores that a judge gives to the answers of preference sets."""

from collections.abc import Callable, Sequence

import numpy as np

from trimtab.data.preferences import Comparison
from trimtab.engines.base import Engine
from trimtab.evaluation.score.preference_accuracy import Scores, text_of_answer
from trimtab.judges.base import Judge, ReadsTokens, check_scores, needs_of
from trimtab.judges.draft import Draft
from trimtab.models.codec import TextCodec

BATCH = 16


def score_by_judge(
    judge: Judge,
    engine: Engine | None,
    comparisons: Sequence[Comparison],
    template: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Scores, int]:
    """The judge's score of every answer.

    A judge that needs no engine reads the text of the template. The others read a prompt and an answer.

    Args:
        judge: its high scores are good.
        engine: the model that judges that need one ask; a session shares what texts have in common.
        comparisons: comparisons with the same number of styles.
        template: the text of a prompt and an answer, with the places "{prompt}" and "{answer}".
        progress: called with the number of texts done, and of all texts.

    Returns:
        The scores; and the number of texts that were cut to fit the judge's context: the beginning of the prompt, then
        the end of the answer.

    Raises:
        InvalidData: a score is no number from 0 to 1.
    """
    asked = engine if needs_of(judge) else None
    drafts, cut = [], 0
    for each in comparisons:
        for pair in zip(each.chosen, each.rejected, strict=True):
            for answer in pair:
                if asked is None:
                    drafts.append(Draft("", (), (), text_of_answer(each.prompt, answer, template)))
                else:
                    draft, shortened = _draft(judge, asked.codec, each.prompt, answer)
                    drafts.append(draft)
                    cut += shortened
    found: list[float] = []
    for start in range(0, len(drafts), BATCH):
        some = drafts[start : start + BATCH]
        found += check_scores(judge.name, judge.score(some, asked), len(some))
        progress(len(found), len(drafts))
    return np.array(found).reshape(len(comparisons), -1, 2), cut


def _draft(judge: Judge, codec: TextCodec, prompt: str, answer: str) -> tuple[Draft, bool]:
    """A prompt and an answer as a draft that the judge has room for, and whether it was cut."""
    prompt_ids, ids = codec.encode_text(prompt), codec.encode_text(answer)
    room = _room(judge, codec, prompt, prompt_ids)
    if len(ids) <= room:
        return Draft(prompt, tuple(prompt_ids), tuple(ids), answer), False
    while len(ids) > room and prompt_ids:
        prompt_ids = prompt_ids[len(ids) - room :]
        prompt = codec.decode(prompt_ids)
        room = _room(judge, codec, prompt, prompt_ids)
    ids = ids[: max(0, room)]
    return Draft(prompt, tuple(prompt_ids), tuple(ids), codec.decode(ids)), True


def _room(judge: Judge, codec: TextCodec, prompt: str, prompt_ids: Sequence[int]) -> int:
    """The most tokens of an answer that a judge has room for behind a prompt; below 0 if the prompt is too long."""
    if isinstance(judge, ReadsTokens):
        return judge.room(codec, prompt, prompt_ids)
    return codec.context_length - len(prompt_ids)
