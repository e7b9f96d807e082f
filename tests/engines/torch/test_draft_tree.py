"""The trees of a draft head, against chains of its guesses, one path at a time."""

import pytest
import torch
from transformers import DynamicCache

from draft_heads import tiny_draft
from tiny import tiny_lm
from trimtab.engines.base import Request
from trimtab.engines.draft import TEXT
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.draft_tree import CHAIN, KNOWN, WIDE, Growth, TreeShape
from trimtab.engines.torch.sampling import RowSampling, gumbel_noise
from trimtab.models.kv_cache import KVCache

TEXTS = [[10, 11, 12, 13], [20, 21], [30, 31, 32]]
SHAPE = TreeShape(first=3, wide=2, each=2)


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("qwen2", seed=5)


@pytest.fixture(scope="module")
def head(lm):
    return tiny_draft(lm).head


def unsteered(candidates):
    """Return the logits as they are."""
    return candidates.logits


def grown(lm, head, texts, shape, deep, steer=unsteered, **params):
    """Return the trees behind some texts, whose last tokens the model has not read."""
    requests = [Request(text, SamplingParams(seed=row, **{"top_k": 5, **params})) for row, text in enumerate(texts)]
    batch, host = lm.batch([text[:-1] for text in texts]), KVCache(lm.model, (head,))
    host.feed(batch.ids, batch.mask)
    last = torch.tensor([text[-1] for text in texts])
    growth = Growth(head, host, RowSampling.of(requests, lm.device), last)
    for _ in range(deep):
        growth.grow(shape, steer)
    return growth.drafts([deep] * len(texts)), requests


def chances_behind(lm, head, request, path):
    """Return the candidates behind a text and some drafted tokens, with their chances: one call for each token."""
    host, tokens = KVCache(lm.model, (head,)), list(request.prefix)
    host.feed(torch.tensor([tokens[:-1]]))
    cache, state = DynamicCache(), host.hidden(head)[:, None]
    cache.update(*host.keys_values(head), 0)
    for token in [tokens[-1], *path]:
        guess = head.guess(state, torch.tensor([[token]]), None, cache)
        state = head.onward(guess)
    kept, places = head.logits(guess)[0, 0].float().topk(request.params.top_k)
    ids = head.tokens[places]
    keys = RowSampling.of([request], lm.device).keys
    noise = gumbel_noise(keys, torch.tensor([len(path)]), ids[None])[0]
    scores = kept.double() / request.params.temperature + noise
    return dict(zip(ids.tolist(), (KNOWN * scores.softmax(-1)).tolist(), strict=True))


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_each_token_has_the_chance_that_its_path_alone_gives(lm, head, temperature):
    drafts, requests = grown(lm, head, TEXTS, SHAPE, 3, temperature=temperature)
    for draft, request in zip(drafts, requests, strict=True):
        assert len(draft.tokens) == 3 + 4 + 4
        for place, (token, chance) in enumerate(zip(draft.tokens, draft.chances, strict=True)):
            path, parent = [], draft.after[place]
            while parent != TEXT:
                path.insert(0, draft.tokens[parent])
                parent = draft.after[parent]
            assert chances_behind(lm, head, request, path)[token] == pytest.approx(chance, abs=1e-4)


def test_the_best_are_drafted_and_gone_on_from(lm, head):
    (draft, *_), (request, *_) = grown(lm, head, TEXTS, SHAPE, 2)
    behind = chances_behind(lm, head, request, [])
    assert sorted(draft.chances[:3]) == pytest.approx(sorted(behind.values())[-3:], abs=1e-4)
    assert {draft.tokens[parent] for parent in draft.after[3:]} == set(sorted(behind, key=behind.get)[-2:])


def test_a_chain_is_the_best_guess_of_each_place(lm, head):
    (draft, *_), (request, *_) = grown(lm, head, TEXTS, CHAIN, 4)
    assert not draft.branches
    for place, token in enumerate(draft.tokens):
        behind = chances_behind(lm, head, request, draft.tokens[:place])
        assert token == max(behind, key=behind.get)


def test_trees_are_steered(lm, head):
    wanted = int(head.tokens[3])
    drafts, _ = grown(lm, head, TEXTS, SHAPE, 2, lambda each: each.logits + 100.0 * (each.ids == wanted), top_k=40)
    for draft in drafts:
        assert draft.tokens[0] == wanted
        assert draft.chances[0] == pytest.approx(KNOWN)


def test_a_row_without_room_gets_no_longer_paths(lm, head):
    requests = [Request(text, SamplingParams(seed=0, top_k=5)) for text in TEXTS]
    batch, host = lm.batch([text[:-1] for text in TEXTS]), KVCache(lm.model, (head,))
    host.feed(batch.ids, batch.mask)
    growth = Growth(head, host, RowSampling.of(requests, lm.device), torch.tensor([text[-1] for text in TEXTS]))
    for _ in range(3):
        growth.grow(SHAPE, unsteered)
    found = growth.drafts([0, 1, 3])
    assert [len(draft.tokens) for draft in found] == [0, 3, 11]
    assert max(found[1].depths) == 0


def test_few_candidates_make_a_small_tree(lm, head):
    (draft, *_), _ = grown(lm, head, TEXTS[:1], TreeShape.of(1), 4, top_k=2)
    assert len(draft.tokens) == 2 + 2 * 2 + WIDE * 2 + WIDE * 2


def test_a_batch_goes_on_from_fewer_tokens_of_each_row():
    shapes = [TreeShape.of(rows) for rows in (1, 2, 4, 64)]
    assert [shape.wide for shape in shapes] == [WIDE, WIDE // 2, 1, 1]
