"""The accuracy of a language model, steered or not, on multiple-choice questions."""

from collections.abc import Callable, Sequence

import numpy as np

from trimtab.data.choices import Question
from trimtab.engines.base import Engine
from trimtab.evaluation.score.metrics import Ratio
from trimtab.steering.steer import Steer

BATCH = 8  # questions

Scores = list[list[float]]  # of each question, its choices


def score_choices(
    engine: Engine,
    questions: Sequence[Question],
    steer: Steer | None,
    top_k: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Scores:
    """The log-likelihood of each choice behind its prompt, summed over its tokens.

    Args:
        engine: the model.
        questions: the questions.
        steer: None for the model's own likelihoods.
        top_k: with a steer, the candidates of each token; a choice's token that is not among them is added. None for
            the whole vocabulary, which makes the likelihood of a datastore that of the mixture.
        progress: called with the number of questions done, and of all questions.
    """
    scores: Scores = []
    for start in range(0, len(questions), BATCH):
        some = questions[start : start + BATCH]
        prefixes = [engine.codec.encode_prompt(each.prompt) for each in some]
        choices = [[engine.codec.encode_text(choice) for choice in each.choices] for each in some]
        scores += [of.logprobs.tolist() for of in engine.score(prefixes, choices, steer, top_k)]
        progress(len(scores), len(questions))
    return scores


def choice_figures(questions: Sequence[Question], scores: Scores) -> dict[str, Ratio]:
    """The share of questions whose right choice is the most likely one; and what a guess is right of.

    A tie of several choices is right by the share of them that is right.
    """
    right = [_credit(of_question, each.answer) for each, of_question in zip(questions, scores, strict=True)]
    guessed = [1 / len(each.choices) for each in questions]
    return {name: Ratio(np.array(of), np.ones(len(of))) for name, of in (("accuracy", right), ("chance", guessed))}


def _credit(scores: Sequence[float], answer: int) -> float:
    best = [place for place, score in enumerate(scores) if score == max(scores)]
    return (answer in best) / len(best)
