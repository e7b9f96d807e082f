"""Reward models of other libraries as rankers of drafts, against transformers' own forward, text by text."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from reward_models import save_decoder, save_encoder
from tiny import tiny_tokenizer
from trimtab.errors import InvalidPrompt, InvalidSetting, NonFiniteReward
from trimtab.judges.ranker import load_ranker

PROMPT, DRAFTS = "w3 w4 ", ["w5 w6", "w7", "w8 w9 w10 w11"]


def logits_of(folder, texts):
    """The outputs of each text, in double precision."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).double()
    with torch.no_grad():
        return torch.cat([model(torch.tensor([tiny_tokenizer()(text)["input_ids"]])).logits for text in texts])


def test_a_decoder_with_one_output_scores_by_it_in_its_chat_template(tmp_path):
    save_decoder(tmp_path, chat=True)
    found = load_ranker(str(tmp_path)).score(PROMPT, DRAFTS)
    expected = logits_of(tmp_path, [f"w1 w3 w4 w2 {draft}" for draft in DRAFTS])[:, 0]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_conversation_is_read_turn_by_turn(tmp_path):
    save_decoder(tmp_path, chat=True, pad=True)
    turns = [
        {"role": "user", "content": "w3"},
        {"role": "assistant", "content": "w4"},
        {"role": "user", "content": "w5"},
    ]
    expected = logits_of(tmp_path, [f"w1 w3 w2 w4 w1 w5 w2 {draft}" for draft in DRAFTS])[:, 0]
    assert load_ranker(str(tmp_path)).score(turns, DRAFTS).tolist() == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("save", [save_encoder, save_decoder])
@pytest.mark.parametrize(
    ("settings", "of_label"),
    [
        ({}, lambda logits: logits.log_softmax(-1)[:, 2]),
        ({"problem_type": "regression"}, lambda logits: logits[:, 2]),
        ({"problem_type": "multi_label_classification"}, lambda logits: logits[:, 2]),
    ],
)
def test_one_of_several_outputs_ranks(tmp_path, save, settings, of_label):
    save(tmp_path, labels=3, **settings)
    expected = of_label(logits_of(tmp_path, [PROMPT + draft for draft in DRAFTS]))
    found = load_ranker(f"{tmp_path}:label_2").score(PROMPT, DRAFTS)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_best_draft_has_the_highest_output_and_good_ones_are_not_tied(lm, tmp_path):
    save_decoder(tmp_path, chat=True)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        model.score.weight *= 100  # the sigmoid of such outputs is 0 or 1
    model.save_pretrained(tmp_path)
    best = lm.best_of("w3 w4", 5, by=load_ranker(str(tmp_path)), max_new_tokens=4, seed=1)
    drafts = lm.generate("w3 w4", n=5, max_new_tokens=4, seed=1).samples
    expected = logits_of(tmp_path, [f"w1 w3 w4 w2 {draft.text}" for draft in drafts])[:, 0]
    assert best.text == drafts[int(expected.argmax())].text
    assert list(best.scores) == pytest.approx(expected.sort(descending=True).values.tolist(), rel=1e-4)
    assert best.provenance["by"][0]["ranker"] == tmp_path.name
    assert len(best.provenance["by"][0]["weights_sha256"]) == 16


def test_what_a_ranker_cannot_read_is_refused_before_drafts_are_written(lm, tmp_path, monkeypatch):
    save_decoder(tmp_path)
    ranker = load_ranker(str(tmp_path))
    monkeypatch.setattr(type(lm), "_generations", lambda *given: pytest.fail("wrote drafts"))
    with pytest.raises(InvalidPrompt, match=r"expected at most 30, which .* reads; shorten the prompt"):
        lm.best_of(" ".join(["w1"] * 40), 2, by=ranker)
    ranker._tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InvalidPrompt, match=r"cannot read .*roles must alternate"):
        lm.best_of("w1", 2, by=ranker)


def test_an_output_that_is_not_finite_is_named(tmp_path):
    save_decoder(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        model.score.weight.fill_(float("inf"))
    model.save_pretrained(tmp_path)
    with pytest.raises(NonFiniteReward, match="not finite"):
        load_ranker(str(tmp_path)).score(PROMPT, DRAFTS)


def test_a_wrong_label_and_no_model_are_refused(tmp_path):
    save_encoder(tmp_path, labels=3)
    for spec, message in ((str(tmp_path), "LABEL_0, LABEL_1, LABEL_2"), ("no/such", "expected vader")):
        with pytest.raises(InvalidSetting, match=message):
            load_ranker(spec)
