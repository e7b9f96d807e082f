"""How often a draft head is right: with the noise of sampling that it shares with its language model."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from trimtab.engines.torch.sampling import gumbel_noise
from trimtab.training.draft_objective import DraftTask

GREEDY = "greedy"


@torch.inference_mode()
def agreement(task: DraftTask, batches: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The share of places at which head and model choose the same token: the acceptance of each step of a draft.

    Both choose behind the text's own tokens: of their candidates the one with the best logit plus Gumbel noise, which
    both share (temperature 1, no steer), or the best logit.

    Args:
        task: the head and the model.
        batches: ids and masks of texts, padded on the right.

    Returns:
        By "acceptance 1", … "greedy 1", …: of the first token of a draft, of the second if the first was right, ….
    """
    right: dict[str, float] = {}
    count: dict[str, float] = {}
    for number, (ids, mask) in enumerate(batches):
        targets = task.read(ids)
        for step, logits in enumerate(task.guesses(targets, ids, mask), start=1):
            best, columns = logits.float().topk(min(task.top_k, logits.shape[-1]), dim=-1)
            drafted = task.head.tokens[columns]
            ours = targets.ids[:, step:], targets.probabilities[:, step:].log()
            for name, same in (
                (f"acceptance {step}", _chosen(drafted, best, number) == _chosen(*ours, number)),
                (f"{GREEDY} {step}", drafted[..., 0] == targets.ids[:, step:, 0]),
            ):
                right[name] = right.get(name, 0.0) + float((same & mask[:, step:]).sum())
                count[name] = count.get(name, 0.0) + float(mask[:, step:].sum())
    return {name: right[name] / max(count[name], 1.0) for name in right}


def _chosen(ids: Int[Tensor, "rows places k"], logits: Tensor, seed: int) -> Int[Tensor, "rows places"]:
    """The Gumbel-max choice at each place, by noise of its own."""
    rows, places, _ = ids.shape
    keys = torch.arange(rows * places, device=ids.device) + seed * rows * places
    noise = gumbel_noise(keys, torch.zeros_like(keys), ids.flatten(0, 1)).unflatten(0, (rows, places))
    return ids.gather(-1, (logits + noise).argmax(-1, keepdim=True)).squeeze(-1)
