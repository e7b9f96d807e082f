"""Other tokens in the place of each token, against the base asked place by place."""

import pytest
import torch

from tiny import opening_lm, tiny_reward
from trimtab import testing
from trimtab.rewards.candidate_scores import base_candidates

TEXTS = [[10, 20, 30, 40, 15], [50, 51], [12, 13, 14]]


@pytest.fixture(scope="module")
def opening():
    return opening_lm("llama")


@pytest.mark.parametrize("bos", [False, True])
@torch.inference_mode()
def test_base_candidates_equal_the_top_of_separate_forwards(bos, llama, opening):
    lm, before = (opening, [1]) if bos else (llama, [])
    assert lm.prepends_bos == bos
    found = base_candidates(lm, lm.batch(TEXTS), 3)
    for row, ids in enumerate(TEXTS):
        for place in range(len(ids)):
            column = place - len(ids)
            asked = [*before, *ids[:place]]
            assert bool(found.known[row, column]) == bool(asked)
            if asked:
                top = lm.model(torch.tensor([asked])).logits[0, -1].topk(3)
                assert found.token_ids[row, column].tolist() == top.indices.tolist()
                assert torch.allclose(found.logits[row, column], top.values, atol=1e-4)
    assert not found.known[1, :-2].any()


@torch.inference_mode()
def test_a_text_that_begins_with_bos_gets_no_second_one(opening):
    found = base_candidates(opening, opening.batch([[1, 10, 20]]), 3)
    for column, before in ((-2, [1]), (-1, [1, 10])):
        top = opening.model(torch.tensor([before])).logits[0, -1].topk(3)
        assert found.token_ids[0, column].tolist() == top.indices.tolist()


def test_candidates_of_a_sigmoid_head_without_bos_equal_separate_forwards(frozen, head):
    reward = tiny_reward(frozen, head, link="sigmoid", bos_token_id=None)
    testing.assert_candidates_equal_separate(reward, TEXTS, [5, 17, 29])
    scores = reward.score(["w1 w2 w3", "w9 w10 w11"])
    assert ((scores > 0) & (scores < 1)).all()
