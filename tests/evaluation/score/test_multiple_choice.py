"""Multiple choice, by the model and by its mixture with a datastore (RTD), against a computation by hand."""

import math

import pytest
import torch

from tiny import tiny_lm
from trimtab.data.choices import Question
from trimtab.data.tables import PromptedText
from trimtab.engines.torch.engine import TorchEngine
from trimtab.evaluation.score.multiple_choice import choice_figures, score_choices
from trimtab.training.datastore import build_datastore
from trimtab.training.datastore_settings import DatastoreSettings

KNOWN = [PromptedText(" w1" if n % 2 else " w2", prompt=f"w{n} w{n + 1} w9") for n in range(10, 30)]
QUESTIONS = [Question(f"w{n} w{n + 1} w9", (" w1", " w2", " w3"), 0 if n % 2 else 1) for n in range(10, 22)]


@pytest.fixture(scope="module")
def engine():
    return TorchEngine(tiny_lm("llama", seed=3))


def last_state(lm, text):
    """The last hidden state of a text, and the log-probabilities of the next token."""
    ids = torch.tensor([list(lm.codec.encode_prompt(text))])
    with torch.no_grad():
        out = lm.model(ids, output_hidden_states=True)
    return out.hidden_states[-1][0, -1], out.logits[0, -1].log_softmax(-1)


def test_a_datastore_of_labels_answers_by_its_mixture_with_the_model(engine):
    """RTD: log(λ q + (1 − λ) p) of each label, with q from all distances, in float64."""
    lm, mix, neighbours, temperature = engine.base, 0.9, 5, 0.05
    settings = DatastoreSettings(
        keys=100, max_tokens=10, neighbours=neighbours, distance_temperature=temperature, mix=mix
    )
    store = build_datastore(lm, "answers", KNOWN, [], settings)
    keys = torch.stack([last_state(lm, each.prompt)[0] for each in KNOWN]).double()
    labels = [lm.codec.encode_text(each.text)[0] for each in KNOWN]
    scores = score_choices(engine, QUESTIONS, store.toward(1.0))
    for question, found in zip(QUESTIONS, scores, strict=True):
        state, logprobs = last_state(lm, question.prompt)
        distances = (keys - state.double()).norm(dim=1)
        nearest = distances.argsort()[:neighbours].tolist()
        weights = torch.softmax(-distances[nearest] / temperature, 0)
        for choice, score in zip(question.choices, found, strict=True):
            (token,) = lm.codec.encode_text(choice)
            q = sum(float(weight) for weight, key in zip(weights, nearest, strict=True) if labels[key] == token)
            assert score == pytest.approx(math.log(mix * q + (1 - mix) * math.exp(logprobs[token])), abs=1e-3)
    figures = choice_figures(QUESTIONS, scores)
    plain = choice_figures(QUESTIONS, score_choices(engine, QUESTIONS, None))
    assert figures["accuracy"].value == 1.0 > plain["accuracy"].value  # its questions are among the keys
    assert figures["chance"].value == pytest.approx(1 / 3)


def test_without_a_mixture_the_choices_are_those_of_the_model(engine):
    store = build_datastore(engine.base, "answers", KNOWN, [], DatastoreSettings(max_tokens=10, mix=0.0))
    mixed = score_choices(engine, QUESTIONS[:3], store.toward(1.0))
    for found, expected in zip(mixed, score_choices(engine, QUESTIONS[:3], None), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_a_choice_of_several_tokens_is_the_sum_of_them(engine):
    (found,) = score_choices(engine, [Question("w1", (" w2 w3", " w4"), 0)], None)
    parts = [
        float(last_state(engine.base, text)[1][engine.codec.encode_text(token)[0]])
        for text, token in (("w1", "w2"), ("w1 w2", "w3"))
    ]
    assert found[0] == pytest.approx(sum(parts), abs=1e-3)


def test_a_tie_is_right_in_part():
    questions = [Question("ask", ("a", "b", "c", "d"), 1)] * 3
    found = choice_figures(questions, [[0.0, 0.0, -1.0, -1.0], [0.0, -1.0, -1.0, -1.0], [-2.0, -1.0, -2.0, -3.0]])
    assert found["accuracy"].value == pytest.approx((0.5 + 0 + 1) / 3)
