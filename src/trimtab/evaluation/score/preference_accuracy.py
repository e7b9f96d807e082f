"""The accuracy of a reward on preference sets, by the conventions of the sets' authors."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from trimtab.data.preferences import Comparison
from trimtab.evaluation.score.metrics import Ratio
from trimtab.evaluation.score.readers import check_finite
from trimtab.rewards.reward_model import RewardModel

BATCH_TOKENS = 4096
Scores = Float[np.ndarray, "comparisons styles sides"]  # sides: chosen, rejected

# RewardBench (2403.13787): the subsets of each section with their weights. math-prm has 447 examples, and the weight of
# the six code subsets together.
REWARD_BENCH = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {"math-prm": 984}
    | {f"hep-{language}": 164 for language in ("cpp", "go", "java", "js", "python", "rust")},
}


def score_comparisons(
    reward: RewardModel,
    attribute: str | None,
    direction: Literal["up", "down"],
    comparisons: Sequence[Comparison],
    template: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Scores, int]:
    """The reward of every answer.

    Args:
        reward: the reward.
        attribute: one of its attributes; None for the first.
        direction: `down` if better answers should have low rewards.
        comparisons: comparisons with the same number of styles.
        template: the text of a prompt and an answer, with the places "{prompt}" and "{answer}".
        progress: called with the number of texts done, and of all texts.

    Returns:
        The rewards, negated for `down`; and the number of texts whose beginning was cut off to fit the context.
    """
    texts = [
        text_of_answer(each.prompt, answer, template)
        for each in comparisons
        for pair in zip(each.chosen, each.rejected, strict=True)
        for answer in pair
    ]
    column, room = reward.card.attribute_index(attribute), reward.context_length - reward.extra_tokens
    ids = [reward.base.codec.encode_text(text) for text in texts]
    cut = sum(len(of_text) > room for of_text in ids)
    ids = [of_text[-room:] for of_text in ids]
    order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    scores, done = np.zeros(len(ids)), 0
    while done < len(order):
        size = max(1, BATCH_TOKENS // len(ids[order[min(done + 31, len(order) - 1)]]))
        batch = order[done : done + min(size, 32)]
        scores[batch] = reward_of_texts(reward, [ids[n] for n in batch], column)
        done += len(batch)
        progress(done, len(order))
    return (scores if direction == "up" else -scores).reshape(len(comparisons), -1, 2), cut


def text_of_answer(prompt: str, answer: str, template: str) -> str:
    """The text that is scored: the template; the answer alone if there is no prompt, because it is a conversation."""
    return template.format(prompt=prompt, answer=answer) if prompt else answer


def reward_of_texts(reward: RewardModel, ids: Sequence[Sequence[int]], column: int) -> Float[np.ndarray, " texts"]:
    """The rewards of whole texts; rewards without a baseline are differences, which are summed.

    Raises:
        NonFiniteReward: one is NaN or infinite.
    """
    scored = reward.score_ids(ids)
    values = scored.values[..., column].masked_fill(~scored.known, 0.0).float()
    found = (values[:, -1] if reward.card.baseline else values.sum(1)).cpu().numpy()
    check_finite(reward.name, found.tolist())
    return np.asarray(found)


def accuracy_figures(comparisons: Sequence[Comparison], scores: Scores) -> dict[str, Ratio]:
    """How often the chosen answer scores strictly above the rejected one; a tie is an error.

    Of pairs: `accuracy`, `ties`, and the accuracy of each subset. Of RM-Bench, over its 3 × 3 pairs of styles: `easy`
    (the chosen answer has the richer style), `normal` (both have the same), `hard` (the rejected one has the richer),
    and `accuracy`, their mean.
    """
    above = scores[:, :, None, 0] > scores[:, None, :, 1]  # [comparisons, chosen's style, rejected's style]
    equal = scores[:, :, None, 0] == scores[:, None, :, 1]
    found = {"accuracy": _share(above), "ties": _share(equal)}
    if scores.shape[1] > 1:
        lower, upper = np.tril_indices(scores.shape[1], -1), np.triu_indices(scores.shape[1], 1)
        found |= {"easy": _share(above[:, lower[0], lower[1]]), "hard": _share(above[:, upper[0], upper[1]])}
        found["normal"] = _share(above[:, np.arange(scores.shape[1]), np.arange(scores.shape[1])])
    subsets = np.array([each.subset for each in comparisons])
    names = list(dict.fromkeys(subsets.tolist()))
    if len(names) > 1:
        found |= {name or "(none)": _share(above[subsets == name]) for name in names}
    return found | reward_bench({name: found[name].value for name in names if name in found})


def reward_bench(subsets: dict[str, float]) -> dict[str, Ratio]:
    """RewardBench's sections, each the weighted mean of its subsets, and `RewardBench`, the mean of the sections.

    A section with a missing subset has no score. The scores have no intervals: both ends are the score.

    Differs from the paper: the mean is of the four sections of its own pairs, without its Prior Sets, which count half.
    """
    found: dict[str, Ratio] = {}
    for section, counts in REWARD_BENCH.items():
        if counts.keys() <= subsets.keys():
            weighted = sum(subsets[name] * count for name, count in counts.items())
            found[section] = Ratio(np.array([weighted]), np.array([float(sum(counts.values()))]))
    if len(found) == len(REWARD_BENCH):
        found["RewardBench"] = Ratio(np.array([sum(r.value for r in found.values())]), np.array([float(len(found))]))
    return found


def _share(of: np.ndarray) -> Ratio:
    flat = of.reshape(len(of), -1)
    return Ratio(flat.mean(1), np.ones(len(flat)))
