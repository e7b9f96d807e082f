"""Experts: language models that are trained on texts, and steer by their log-probabilities."""

import math

import numpy as np
import pytest
import torch

import trimtab
from good_words import good_words, quick
from tiny import tiny_lm
from trimtab import errors
from trimtab.data.tables import LabelledText, select_labelled
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.training.expert import train_expert
from trimtab.training.fit import RunOptions
from trimtab.training.measure import prefix_rewards
from trimtab.training.objectives import language_modelling
from trimtab.training.run_folder import RunFolder

GOOD, BAD = ({f"w{number}" for number in range(first, first + 9)} for first in (1, 31))


@pytest.fixture(scope="module")
def base():
    return tiny_lm("llama", seed=3)


def texts(label, count, seed=0):
    return select_labelled(good_words(2 * count, seed), label, label)


def trained_on(base, label, **changes):
    recipe = quick(head="lm", lora_rank=8, learning_rate=2e-2, probe_beta=1.0, epochs=8, **changes)
    return train_expert(base, "kind", texts(label, 100), texts(label, 40, 1), recipe)


@pytest.fixture(scope="module")
def expert(base):
    return trained_on(base, 1.0)


@pytest.fixture(scope="module")
def anti(base):
    return trained_on(base, 0.0)


def test_the_loss_is_the_mean_over_known_tokens():
    """By hand: −(−1 − 2 − 4) / 3."""
    values = torch.tensor([[9.0, -1.0, -2.0], [9.0, 9.0, -4.0]])[..., None]
    known = torch.tensor([[0, 1, 1], [0, 0, 1]], dtype=torch.bool)
    assert float(language_modelling(values, known).mean) == pytest.approx(7 / 3)


def test_the_measured_loss_is_transformers_own(base):
    """Before training, the loss is that of the base: transformers' forward over BOS and the text, in float64."""
    rows = texts(1.0, 10)
    untrained = train_expert(base, "kind", rows, rows, quick(head="lm", learning_rate=1e-12, epochs=1))
    total, tokens = 0.0, 0
    for row in rows:
        ids = [base.bos_token_id, *base.tokenizer(row.text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            logits = base.model(torch.tensor([ids])).logits[0].double()
        of_tokens = logits[:-1].log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])
        total, tokens = total - float(of_tokens.sum()), tokens + len(ids) - 1
    quality = untrained.card.quality
    assert quality["loss"] == pytest.approx(total / tokens, rel=1e-4)
    assert quality["perplexity"] == pytest.approx(math.exp(total / tokens), rel=1e-4)
    assert quality["tokens"] == tokens


def test_it_learns_its_texts_and_no_others(expert, anti):
    """A base that knows nothing finds each of 64 words equally likely; an expert prefers the nine of its texts."""
    ids = [expert.base.tokenizer(row.text, add_special_tokens=False)["input_ids"] for row in texts(1.0, 40, 1)]
    own, other = (
        math.exp(-np.concatenate(prefix_rewards(each.network, ids, 0)).mean(dtype=float)) for each in (expert, anti)
    )
    assert own == pytest.approx(expert.card.quality["perplexity"], rel=1e-4)
    assert own < 0.6 * 64 < 64 < other
    assert (expert.card.head, expert.card.clamp, expert.card.baseline) == ("lm", None, False)
    assert expert.card.provenance["objective"] == "language modelling"


def test_an_expert_and_an_anti_expert_steer(expert, anti, base):
    """DExperts: the words of the expert gain, those of the anti-expert lose, the base's other words stay between."""
    lm = LanguageModel(TorchEngine(base))
    experts = trimtab.experts(expert, anti)
    choice = lm.generate("w20 w21", experts.toward(2.0), top_k=None, max_new_tokens=1, seed=0).trace[0].choice
    gained = choice.steered_logprobs - choice.base_logprobs
    words = [base.tokenizer.decode(token) for token in choice.candidates.tolist()]
    good, bad = ([float(gained[place]) for place, word in enumerate(words) if word in kind] for kind in (GOOD, BAD))
    assert len(good) == len(bad) == 9
    assert min(good) > max(bad)
    options = {"max_new_tokens": 6, "seed": 0}
    assert lm.generate("w20", experts.toward(0.0), **options).text == lm.generate("w20", **options).text


def test_an_interrupted_run_ends_with_the_same_weights(base, tmp_path):
    """Half of the checkpoints are removed with the end; the rest is trained again."""
    recipe = quick(head="lm", epochs=2, checkpoints=2)
    rows, held_out = texts(1.0, 60), texts(1.0, 10, 1)
    whole = train_expert(base, "kind", rows, held_out, recipe)
    run = RunFolder(tmp_path / "run")
    train_expert(base, "kind", rows, held_out, recipe, RunOptions(run=run))
    run.final.unlink()
    newest = max(run.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    resumed = train_expert(base, "kind", rows, held_out, recipe, RunOptions(run=run))
    assert resumed.fingerprint == whole.fingerprint


def test_another_seed_trains_other_weights(base):
    rows = texts(1.0, 40)
    one, same, other = (train_expert(base, "kind", rows, rows, quick(head="lm", epochs=1, seed=s)) for s in (0, 0, 1))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_what_cannot_train_a_language_model_is_refused(base):
    rows = [LabelledText("w1 w2")] * 2
    with pytest.raises(errors.InvalidSetting, match="expected head='lm'"):
        train_expert(base, "kind", rows, rows, quick())
    with pytest.raises(errors.InvalidSetting, match="expected trunk='lora' or 'full'"):
        train_expert(base, "kind", rows, rows, quick(head="lm", trunk="frozen"))


def test_texts_are_selected_by_their_label():
    rows = [LabelledText("a", (0.0,)), LabelledText("b", (0.5,)), LabelledText("c", (1.0,))]
    assert [row.text for row in select_labelled(rows, at_least=0.5)] == ["b", "c"]
    assert [row.text for row in select_labelled(rows, at_most=0.5)] == ["a", "b"]
    assert [row.text for row in select_labelled(rows, 0.2, 0.8)] == ["b"]
    with pytest.raises(errors.InvalidData, match=r"none with a label from 0\.6 to 0\.8"):
        select_labelled(rows, 0.6, 0.8)
