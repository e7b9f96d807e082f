"""Readers that are no judges: fluency under another language model, and a reward's view of every tenth of a text."""

import math
from collections.abc import Sequence

from trimtab.engines.scoring import score_continuations
from trimtab.evaluation.readings import Read, Text
from trimtab.frozen.lm import FrozenLM
from trimtab.rewards.model import RewardModel
from trimtab.training.measure import FRACTIONS, at

TOGETHER = 32


def fluency_reader(lm: FrozenLM) -> Read:
    """Reads −log p(continuation | prompt) in nats, and the continuation's tokens, both by a language model's lights.

    The prompt with its continuation is tokenized as a whole; the continuation is what is left after as many tokens as
    the prompt alone has.
    """

    def read(texts: Sequence[Text]) -> list[list[float]]:
        starts = [len(lm.encode(text["prompt"])) for text in texts]
        wholes = [lm.encode(text["prompt"] + text["text"]) for text in texts]
        found = [[0.0, 0.0] for _ in texts]  # an empty continuation costs nothing
        some = [n for n, (whole, start) in enumerate(zip(wholes, starts, strict=True)) if len(whole) > start]
        for batch in (some[place : place + TOGETHER] for place in range(0, len(some), TOGETHER)):
            prefixes, continuations = [wholes[n][: starts[n]] for n in batch], [wholes[n][starts[n] :] for n in batch]
            scored = score_continuations(lm, prefixes, range(len(batch)), continuations)
            for n, ids, logprob in zip(batch, continuations, scored.logprobs.tolist(), strict=True):
                found[n] = [-logprob, float(len(ids))]
        return found

    return read


def profile_reader(reward: RewardModel, attribute: str | None) -> Read:
    """Reads a reward after 10, 20 … 100 % of a continuation's tokens, its prompt before it."""
    column = reward.card.attribute_index(attribute)

    def read(texts: Sequence[Text]) -> list[list[float]]:
        found = []
        for batch in (texts[start : start + TOGETHER] for start in range(0, len(texts), TOGETHER)):
            starts = [len(reward.encode(text["prompt"])) for text in batch]
            prefixes = reward.score_prefixes([text["prompt"] + text["text"] for text in batch])
            for start, values in zip(starts, prefixes, strict=True):
                later = values[start:, column].float().cpu().numpy()
                found.append([float(at(later, f)) for f in FRACTIONS] if len(later) else [math.nan] * len(FRACTIONS))
        return found

    return read
