"""The agreement of a student and its teacher, against ranks counted one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tiny import tiny_lm, tiny_reward
from trimtab.training.agreement import agreement
from trimtab.training.distillation import Distillation
from trimtab.training.target import Target
from trimtab.training.teacher import teacher_rewards


def spearman(first, second) -> float:
    """Pearson's correlation of ranks; no two values are equal."""
    ranks = [np.argsort(np.argsort(each)) for each in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


@pytest.fixture(scope="module")
def examples(lm, tmp_path_factory):
    """Texts and a teacher's rewards of candidates behind at least one token: there BOS is a token like any other."""
    texts = [[5, 6, 7, 40], [9, 10, 11], [35, 36, 37, 38, 41]]
    folder = tmp_path_factory.mktemp("targets") / "targets"
    targets = teacher_rewards(tiny_reward(lm, "v"), lm, texts, 5, folder, bf16=False)
    return [
        {"input_ids": ids, "target": behind_the_first(target), "length": len(ids)}
        for ids, target in zip(texts, targets, strict=True)
    ]


def behind_the_first(target: Target) -> Target:
    kept = {name: getattr(target, name)[1:] for name in ("places", "candidates", "rewards", "scored")}
    return replace(target, **kept)


def test_agreement_equals_the_correlation_of_ranks(lm, examples):
    student = tiny_reward(lm, "q", seed=1)
    found = agreement(student.network, Distillation("candidates", 0), "candidates", examples, ("kind", "calm"))
    for column, name in enumerate(("kind", "calm")):
        own, theirs, of_places = [], [], []
        for example in examples:
            ids, target = example["input_ids"], example["target"]
            own += student.score_ids([ids]).values[0, :, column].tolist()
            theirs += target.observed[:, column].tolist()
            for row, place in enumerate(target.places.tolist()):
                behind = [
                    student.score_ids([[*ids[:place], token]]).values[0, -1, column].item()
                    for token in target.candidates[row].tolist()
                ]
                of_places.append(spearman(behind, target.rewards[row, :, column].tolist()))
        assert found[f"agreement_over_prefixes:{name}"] == pytest.approx(spearman(own, theirs), abs=1e-6)
        assert found[f"agreement_over_candidates:{name}"] == pytest.approx(np.mean(of_places), abs=1e-6)


def test_what_is_not_scored_does_not_count(lm, examples):
    """With two scored candidates there is no rank correlation; constant rewards have none either."""
    student = tiny_reward(lm, "q", seed=1)

    def changed(**parts):
        kept = [{**each, "target": replace(each["target"], **parts)} for each in examples[:1]]
        return agreement(student.network, Distillation("candidates", 0), "candidates", kept, ("kind", "calm"))

    target = examples[0]["target"]
    few = torch.zeros_like(target.scored)
    few[:, :2] = True
    assert not [name for name in changed(scored=few) if "candidates" in name]
    assert not [name for name in changed(rewards=torch.zeros_like(target.rewards)) if "candidates" in name]
    assert not [name for name in changed(known=torch.zeros_like(target.known)) if "prefixes" in name]


def test_targets_without_candidates_have_fewer_figures(lm, examples):
    student = tiny_reward(lm, "q", seed=1)
    orig = agreement(student.network, Distillation("orig", 0), "orig", examples, ("kind", "calm"))
    assert set(orig) == {"agreement_over_prefixes:kind", "agreement_over_prefixes:calm"}
    assert agreement(student.network, Distillation("delta", 0), "delta", examples, ("kind", "calm")) == {}
