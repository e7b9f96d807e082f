"""Similarity of branches: by the model's own hidden states, by a sentence encoder, or off."""

import pytest
import torch

from drafts import draft_of
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.judges.draft import Draft
from trimtab.models.prefix_cache import PrefixCache
from trimtab.rewind.similarity import HiddenStateSimilarity, NoSimilarity, as_similarity, check_similarity


@pytest.fixture(scope="module")
def engine(llama):
    return TorchEngine(llama, PrefixCache())


@pytest.fixture(scope="module")
def drafts(llama):
    texts = [("w1 w2", "w3 w4 w5"), ("w1 w2", "w3 w9"), ("w7", "w8 w1 w2 w3")]
    return [draft_of(llama.codec, prompt, text) for prompt, text in texts]


def test_hidden_state_similarity_is_the_mean_hidden_state_two_thirds_up_at_unit_length(llama, engine, drafts):
    for vectors, each in zip(HiddenStateSimilarity().embed(drafts, engine), drafts, strict=True):
        ids = torch.tensor([[*each.prompt_ids, *each.token_ids]])
        states = llama.body(ids, use_cache=False, output_hidden_states=True).hidden_states[2][0].detach()
        for vector, length in zip(vectors, each.tail_lengths, strict=True):
            mean = states[-length:].mean(0)
            torch.testing.assert_close(torch.tensor(vector).float(), mean / mean.norm(), atol=1e-4, rtol=1e-4)


def test_drafts_without_a_branch_or_without_tokens_have_no_embedding(engine):
    at_root = Draft("w1", (5,), (6, 7), "w2 w3")
    only_eos = Draft("w1", (5,), (), "", ("",), (0,))
    assert HiddenStateSimilarity().embed([at_root, only_eos], engine) == [(), ()]


def test_similarity_is_chosen_by_name(engine, drafts, tmp_path):
    assert as_similarity("off").embed(drafts, engine) == [(), (), ()]
    assert isinstance(as_similarity("lm"), HiddenStateSimilarity)
    assert isinstance(as_similarity(NoSimilarity()), NoSimilarity)
    with pytest.raises(InvalidSetting, match="nowhere"):
        as_similarity(str(tmp_path / "nowhere"))


def test_sentence_similarity_is_the_encoders_embedding(llama, engine, drafts, tmp_path):
    """The encoder is made here: the mean of a tiny model's hidden states."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path / "tiny"
    llama.model.base_model.save_pretrained(folder)
    llama.tokenizer.save_pretrained(folder)
    body = Transformer(str(folder))
    encoder = sentence_transformers.SentenceTransformer(modules=[body, Pooling(32, "mean")])
    encoder.save(str(tmp_path / "encoder"))
    similarity = as_similarity(str(tmp_path / "encoder"))
    for vectors, each in zip(similarity.embed(drafts, engine), drafts, strict=True):
        expected = encoder.encode(list(each.tails))
        torch.testing.assert_close(torch.tensor(vectors[0]).float(), torch.tensor(expected[0]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["", "nowhere", "empty", "notes.txt", "x" * 300_000])
def test_a_similarity_that_cannot_be_loaded_is_refused_without_loading_any(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InvalidSetting, match="similarity=") as caught:
        check_similarity(name)
    assert len(str(caught.value)) < 500


def test_the_similarities_without_a_model_need_no_check():
    check_similarity("off")
    check_similarity("lm")
