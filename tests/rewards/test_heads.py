"""The table of heads, and what a new head takes: its module, one line in the table, and this test."""

import re
from pathlib import Path

import pytest
import torch

import trimtab.rewards
from good_words import good_words, quick
from tiny import VOCABULARY, tiny_reward
from trimtab import errors, testing
from trimtab.data.tables import LabelledText
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.rewards.heads import HEADS, HeadKind, describe_heads, head_class, head_of_method
from trimtab.rewards.spectrum import reward_matrix
from trimtab.training.distil import train_from_teacher
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings, Recipe

PROMPT = [10, 20, 30, 40, 11, 21, 31]
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
CANDIDATES = [5, 17, 29, 41, 53]
OPTIONS = {"top_k": 6, "max_new_tokens": 8, "seed": 3}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(HEADS, "bigram", HeadKind("bigrams", "Bigrams (toy)", "toy_head:BigramHead"))


@pytest.fixture
def bigrams(toy, llama):
    return tiny_reward(llama, "bigram", trunk="frozen")


def test_every_head_of_the_table_is_found_by_its_name_and_by_its_method():
    for head, kind in HEADS.items():
        assert issubclass(head_class(head), trimtab.rewards.RewardHead)
        assert head_of_method(kind.method) == head
        assert kind.title in describe_heads()


def test_an_unknown_head_or_method_is_refused_with_the_choices():
    with pytest.raises(errors.InvalidSetting, match=r"got head='x', expected q or v"):
        Recipe(head="x")
    with pytest.raises(errors.InvalidSetting, match=r"got method 'x', expected arm or rad"):
        head_of_method("x")


def test_no_module_outside_the_heads_compares_head_names():
    source = Path(trimtab.rewards.__file__).parents[1]
    asks = re.compile(r"QHead|VHead|\bhead (==|!=) [\"']|\.head (in|not in) [(\[{]")
    files = [path for path in source.rglob("*.py") if path.parent.name != "heads"]
    assert len(files) > 50
    assert [path.name for path in files if asks.search(path.read_text(encoding="utf-8"))] == []


def test_a_new_head_keeps_the_laws(bigrams, llama, tmp_path):
    testing.assert_cached_equals_recomputed(bigrams, PROMPT, [5, 44, 29, 6], CANDIDATES)
    testing.assert_candidates_equal_separate(bigrams, PROMPTS, CANDIDATES)
    testing.assert_candidates_equal_vocabulary(bigrams, PROMPT, CANDIDATES)
    testing.assert_accepted_column_equals_fed(bigrams, PROMPT, CANDIDATES)
    testing.assert_batched_equals_single(bigrams, PROMPTS, CANDIDATES)
    testing.assert_padding_changes_nothing(bigrams, PROMPT, CANDIDATES)
    testing.assert_rollback_replays(bigrams, PROMPT, [5, 44, 29, 6, 7], [9, 8], CANDIDATES)
    testing.assert_forks_are_independent(bigrams, PROMPTS, CANDIDATES)
    testing.assert_joined_states_equal_separate(bigrams, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_save_load_identical(bigrams, llama, PROMPT, tmp_path / "reward")


def test_a_new_head_steers(bigrams, llama):
    lm = LanguageModel(TorchEngine(llama))
    testing.assert_zero_beta_is_plain(lm, bigrams, ["w1 w2 w3"], **OPTIONS)
    steered = lm.generate("w1 w2 w3", bigrams.toward(1e4), temperature=0, top_k=20, max_new_tokens=5)
    ids = llama.codec.encode_prompt("w1 w2 w3")
    for token in steered.token_ids:
        candidates = llama.model(torch.tensor([ids])).logits[0, -1].topk(20).indices
        rewards = bigrams.network.head.table[ids[-1], candidates, 0].clamp(0, 1)
        assert rewards[candidates == token] > rewards.max() - 1e-3
        ids.append(token)


def test_a_new_head_trains_and_describes_itself(toy, llama, tmp_path):
    recipe = quick(head="bigram", trunk="frozen", epochs=1, learning_rate=0.1)
    reward = train_from_labels(llama, ["good"], good_words(200), good_words(40, seed=1), recipe)
    scores = reward.score(["w2 w3 w4", "w32 w33 w34"])[:, 0].tolist()
    assert scores[0] > scores[1]
    assert "table of bigrams" in repr(reward)
    reward.save_pretrained(tmp_path / "reward")
    readme = (tmp_path / "reward" / "README.md").read_text(encoding="utf-8")
    assert "Bigrams (toy) for `good`" in readme
    assert "| head | table of bigrams |" in readme


def test_a_new_head_teaches_and_learns_what_it_declares(toy, bigrams, llama):
    rows = [LabelledText(row.text) for row in good_words(20)]
    settings = DistilSettings("candidates", candidates=4)
    student = train_from_teacher(llama, bigrams, rows, rows, quick(epochs=1), settings)
    assert student.card.head == "q"
    recipe = quick(head="bigram", trunk="frozen", epochs=1)
    learnt = train_from_teacher(llama, bigrams, rows, rows, recipe, DistilSettings("orig"))
    assert learnt.card.head == "bigram"
    with pytest.raises(errors.InvalidSetting, match=r"head='bigram', which cannot learn it; expected head=q"):
        train_from_teacher(llama, bigrams, rows, rows, recipe, settings)


def test_the_reward_matrix_of_a_table_head_equals_its_table(bigrams):
    found = reward_matrix(bigrams, [[10, 20], [30]], torch.arange(VOCABULARY).numpy(), "calm")
    table = bigrams.network.head.table
    assert torch.equal(torch.tensor(found), table[[20, 30], :, 1].double())
