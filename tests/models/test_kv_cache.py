"""The KV cache of a batch, against forward calls over whole texts: no cache, no batch, no padding."""

import pytest
import torch

from tiny import tiny_ladder, tiny_lm
from trimtab.errors import InvalidSetting
from trimtab.models import columns
from trimtab.models.branches import Branches
from trimtab.models.kv_cache import KVCache
from trimtab.models.masks import wants_mask
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.side_network import LAST
from trimtab.models.usage import Usage

LONG = [10, 20, 30, 40, 11, 21, 31]  # longer than the tiny Gemma's sliding window


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def fed(lm, texts, depths=(), **options):
    """Return a cache that holds these texts, and the logits of the last tokens."""
    batch = lm.batch(texts)
    cache = KVCache(lm.model, depths, **options)
    return cache, cache.feed(batch.ids, batch.mask).logits[:, -1]


def assert_rows(lm, cache, texts, logits, depths=()):
    """The logits and hidden states of each row are those of a forward call over its text."""
    for row, text in enumerate(texts):
        whole = lm.model(torch.tensor([text]), use_cache=False, output_hidden_states=True)
        torch.testing.assert_close(logits[row], whole.logits[0, -1], atol=1e-4, rtol=1e-4)
        for depth in depths:
            torch.testing.assert_close(
                cache.hidden(depth)[row], whole.hidden_states[depth][0, -1], atol=1e-4, rtol=1e-4
            )


def feed_one(cache, texts, tokens):
    """Feed a token to every row; returns the longer texts and their logits."""
    logits = cache.feed(torch.tensor(tokens)[:, None]).logits[:, -1]
    return [[*text, token] for text, token in zip(texts, tokens, strict=True)], logits


@pytest.mark.parametrize("depths", [(), (2,), (LAST,), (1, LAST)])
def test_a_padded_batch_has_the_states_of_each_text_alone(frozen, depths):
    texts = [LONG, [50, 51], [12, 13, 14, 15]]
    cache, logits = fed(frozen, texts, depths)
    assert_rows(frozen, cache, texts, logits, depths)
    texts, logits = feed_one(cache, texts, [5, 6, 7])
    assert_rows(frozen, cache, texts, logits, depths)
    assert (cache.rows, cache.slots) == (3, 8)


@pytest.mark.parametrize("first", [[LONG, [50, 51]], [[50, 51]], [LONG]])
@pytest.mark.parametrize("second", [[[12, 13, 14, 15]], [LONG, [33]], [[9], [8]]])
def test_joined_rows_have_the_states_of_each_text_alone(frozen, first, second):
    """The caches have different lengths and padding; each is fed a token before and two tokens after."""
    cache, _ = fed(frozen, first, (2, LAST))
    other, _ = fed(frozen, second, (2, LAST))
    first, _ = feed_one(cache, first, [60] * len(first))
    second, _ = feed_one(other, second, [61] * len(second))
    cache.join(other)
    texts = [*first, *second]
    assert (cache.rows, cache.slots) == (len(texts), max(map(len, texts)))
    for depth in (2, LAST):
        for row, text in enumerate(texts):
            whole = frozen.model(torch.tensor([text]), use_cache=False, output_hidden_states=True)
            torch.testing.assert_close(
                cache.hidden(depth)[row], whole.hidden_states[depth][0, -1], atol=1e-4, rtol=1e-4
            )
    for token in (5, 7):
        texts, logits = feed_one(cache, texts, list(range(token, token + len(texts))))
        assert_rows(frozen, cache, texts, logits, (2, LAST))


def test_joined_rows_can_be_proposed_accepted_selected_and_rolled_back(frozen):
    cache, _ = fed(frozen, [LONG])
    cache.join(fed(frozen, [[50, 51], [12, 13, 14]])[0])
    cache.propose(torch.tensor([[5, 6], [7, 8], [9, 10]]))
    cache.accept(torch.tensor([1, 0, 1]))
    texts = [[*LONG, 6], [50, 51, 7], [12, 13, 14, 10]]
    texts, logits = feed_one(cache, texts, [20, 21, 22])
    assert_rows(frozen, cache, texts, logits)
    cache.select(torch.tensor([2, 0, 2]))
    texts = [texts[2], texts[0], texts[2]]
    cache.rollback(2)
    texts, logits = feed_one(cache, [text[:-2] for text in texts], [30, 31, 32])
    assert_rows(frozen, cache, texts, logits)


def test_joining_keeps_the_depths_of_both_caches(llama):
    cache, _ = fed(llama, [LONG], (2,))
    other, _ = fed(llama, [[50, 51]], (LAST,))
    cache.join(other)
    assert set(cache.readers) == {2, LAST}
    assert cache.hidden(2)[1].abs().max() == cache.hidden(LAST)[0].abs().max() == 0
    texts, logits = feed_one(cache, [LONG, [50, 51]], [5, 6])
    assert_rows(llama, cache, texts, logits, (2, LAST))


def test_joining_drops_what_either_cache_proposed(llama):
    cache, _ = fed(llama, [LONG])
    other, _ = fed(llama, [[50, 51]])
    cache.propose(torch.tensor([[5, 6]]))
    other.propose(torch.tensor([[7, 8, 9]]))
    cache.join(other)
    texts, logits = feed_one(cache, [LONG, [50, 51]], [5, 6])
    assert_rows(llama, cache, texts, logits)


def test_an_empty_cache_takes_the_rows_that_join_it(llama):
    cache, (other, _) = KVCache(llama.model), fed(llama, [[50, 51], LONG])
    cache.join(KVCache(llama.model))
    assert cache.rows == 0
    cache.join(other)
    cache.join(KVCache(llama.model))
    texts, logits = feed_one(cache, [[50, 51], LONG], [5, 6])
    assert_rows(llama, cache, texts, logits)


def test_joined_rows_go_into_the_prefix_cache_whole(llama):
    prefix_cache = PrefixCache()
    cache, _ = fed(llama, [LONG], prefix_cache=prefix_cache)
    cache.join(fed(llama, [[50, 51]], prefix_cache=prefix_cache)[0])
    texts, _ = feed_one(cache, [LONG, [50, 51]], [5, 6])
    cache.remember()
    assert [len(prefix_cache.of(llama.model).find(text)) for text in texts] == [8, 3]
    again, logits = fed(llama, [[*text, 7] for text in texts], prefix_cache=prefix_cache)
    assert_rows(llama, again, [[*text, 7] for text in texts], logits)


def test_rows_that_a_side_network_did_not_read_stay_out_of_its_prefix_cache(llama):
    """They hold zeros there. Forked, re-ordered or rolled back, they are still those rows."""
    prefix_cache, ladder = PrefixCache(), tiny_ladder(llama).network.ladder
    cache, _ = fed(llama, [LONG], (ladder,), prefix_cache=prefix_cache)
    cache.join(fed(llama, [[50, 51], [12, 13, 14]], prefix_cache=prefix_cache)[0])
    cache.select(torch.tensor([2, 1, 0, 2]))
    texts, _ = feed_one(cache, [[12, 13, 14], [50, 51], LONG, [12, 13, 14]], [4, 5, 6, 7])
    cache.select(torch.tensor([], dtype=torch.long))
    assert [len(prefix_cache.of(llama.model).find(text)) for text in texts] == [4, 3, 8, 4]
    assert [len(prefix_cache.of(ladder).find(text)) for text in texts] == [0, 0, 8, 0]
    ends = [[*text, 9] for text in texts]
    again, _ = fed(llama, ends, (ladder,), prefix_cache=prefix_cache)
    torch.testing.assert_close(again.hidden(ladder), fed(llama, ends, (ladder,))[0].hidden(ladder))


def test_a_cache_that_rows_with_a_side_network_join_keeps_zeros_out_too(llama):
    prefix_cache, ladder = PrefixCache(), tiny_ladder(llama).network.ladder
    cache, _ = fed(llama, [[50, 51]], prefix_cache=prefix_cache)
    cache.join(fed(llama, [LONG], (ladder,), prefix_cache=prefix_cache)[0])
    cache.join(fed(llama, [[7, 8]], prefix_cache=prefix_cache)[0])
    cache.remember()
    assert [len(prefix_cache.of(ladder).find(text)) for text in ([50, 51], LONG, [7, 8])] == [0, 7, 0]


def test_trimming_drops_padding_columns_and_changes_no_state(frozen):
    cache, _ = fed(frozen, [LONG, [50, 51], [12, 13, 14, 15]], (2,))
    cache.select(torch.tensor([1, 2]))
    assert cache.slots == 7
    cache.trim()
    assert cache.slots == 4
    texts, logits = feed_one(cache, [[50, 51], [12, 13, 14, 15]], [5, 6])
    assert_rows(frozen, cache, texts, logits, (2,))
    cache.trim()
    assert cache.slots == 5


def test_trimming_an_empty_cache_does_nothing(llama):
    cache = KVCache(llama.model)
    cache.trim()
    assert (cache.rows, cache.slots) == (0, 0)


def test_proposed_candidates_do_not_see_each_other(frozen):
    texts, candidates = [LONG, [50, 51]], torch.tensor([[5, 6, 7], [8, 5, 9]])
    cache, batch = KVCache(frozen.body), frozen.batch(texts)
    cache.feed(batch.ids, batch.mask)
    states = cache.propose(candidates).last_hidden_state
    for row, text in enumerate(texts):
        for column, token in enumerate(candidates[row].tolist()):
            whole = frozen.body(torch.tensor([[*text, token]]), use_cache=False).last_hidden_state[0, -1]
            torch.testing.assert_close(states[row, column], whole, atol=1e-4, rtol=1e-4)


def drafted(cache, texts, round_, places=4):
    """Feed a draft to every row, of which each keeps another number of tokens; returns the longer texts and logits."""
    kept = [1 + (row + round_) % places for row in range(len(texts))]
    drafts = torch.tensor([[5 + row, 6 + round_, 7, 8 + row][:places] for row in range(len(texts))])
    mask = torch.arange(places) < torch.tensor(kept)[:, None].clamp_min(2)
    logits = cache.feed(drafts, mask, places).logits
    cache.retract([places - count for count in kept])
    texts = [[*text, *draft[:count]] for text, draft, count in zip(texts, drafts.tolist(), kept, strict=True)]
    return texts, torch.stack([of_row[count - 1] for of_row, count in zip(logits, kept, strict=True)])


@pytest.mark.parametrize("least", [0, 3, 100])
def test_rows_that_keep_different_numbers_of_tokens_have_the_states_of_each_text_alone(frozen, least, monkeypatch):
    """With holes that are closed at once, now and then, and never."""
    monkeypatch.setattr(columns, "LEAST_HOLES", least)
    monkeypatch.setattr(columns, "MORE_HOLES", 1000)
    texts, depths = [LONG, [50, 51], [12, 13, 14, 15]], (2, LAST)
    cache, _ = fed(frozen, texts, depths)
    for round_ in range(5):
        texts, logits = drafted(cache, texts, round_)
        assert_rows(frozen, cache, texts, logits, depths)
        texts, logits = feed_one(cache, texts, [30 + round_, 31, 32])
        assert_rows(frozen, cache, texts, logits, depths)
        ids, mask = cache.prefixes
        assert [row[of_row].tolist() for row, of_row in zip(ids, mask, strict=True)] == texts
        assert bool((mask.int().diff(dim=1) >= 0).all())  # left-padded


TREES = torch.tensor([[-1, 0, 0, 1, 0, 4, 1], [-1, 0, 1, 0, 3, -1, -1], [-1, 0, 1, 2, 3, 4, 5]])  # what each follows
PATHS = [[0, 4, 5], [0, 3, 4], [0]]


@pytest.mark.parametrize("holes", [False, True])
def test_each_token_of_a_tree_has_the_states_of_its_path_alone(frozen, holes):
    """Then one path of each row is kept, and goes on as any text does."""
    depths = (2, LAST)
    texts = [LONG, [50, 51], [12, 13, 14, 15]]
    cache, _ = fed(frozen, texts, depths)
    if holes:
        texts, _ = drafted(cache, texts, 0)
    ids = torch.arange(21).reshape(3, 7) + 20
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[1, 5:] = False
    logits = cache.feed(ids, mask, 7, Branches.behind(TREES)).logits
    for row, text in enumerate(texts):
        for place in mask[row].nonzero().flatten().tolist():
            path = [place]
            while TREES[row, path[0]] >= 0:
                path.insert(0, int(TREES[row, path[0]]))
            whole = frozen.model(torch.tensor([[*text, *ids[row, path].tolist()]]), use_cache=False).logits[0, -1]
            torch.testing.assert_close(logits[row, place], whole, atol=1e-4, rtol=1e-4)
    cache.arrange(torch.tensor([[*path, *path[-1:] * (3 - len(path))] for path in PATHS]), 7)
    cache.retract([7 - len(path) for path in PATHS])
    texts = [[*text, *ids[row, path].tolist()] for row, (text, path) in enumerate(zip(texts, PATHS, strict=True))]
    kept = torch.stack([logits[row, path[-1]] for row, path in enumerate(PATHS)])
    assert_rows(frozen, cache, texts, kept, depths)
    for round_ in range(2):
        texts, logits = feed_one(cache, texts, [30 + round_, 31, 32])
        assert_rows(frozen, cache, texts, logits, depths)


def test_a_ladder_reads_each_path_of_a_tree(frozen):
    ladder = tiny_ladder(frozen).network.ladder
    texts, after = [LONG, [50, 51]], torch.tensor([[-1, 0, 0, 2], [-1, 0, 1, 0]])
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    cache, _ = fed(frozen, texts, (ladder,))
    cache.feed(ids, logits=4, branches=Branches.behind(after))
    cache.arrange(torch.tensor([[0, 2, 3], [0, 3, 3]]), 4)
    cache.retract([1, 2])
    alone = [fed(frozen, [text], (ladder,))[0] for text in ([*LONG, 5, 7, 8], [50, 51, 9, 12])]
    expected = torch.cat([each.hidden(ladder) for each in alone])
    torch.testing.assert_close(cache.hidden(ladder), expected, atol=1e-4, rtol=1e-4)


def test_rows_with_holes_can_be_selected_joined_rolled_back_and_proposed(frozen):
    cache, _ = fed(frozen, [LONG, [50, 51], [12, 13, 14, 15]], (LAST,))
    texts, _ = drafted(cache, [LONG, [50, 51], [12, 13, 14, 15]], 0)
    states = cache.propose(torch.tensor([[9, 10]] * 3), None)
    for row, text in enumerate(texts):
        whole = frozen.model(torch.tensor([[*text, 10]]), use_cache=False).logits[0, -1]
        torch.testing.assert_close(states.logits[row, -1], whole, atol=1e-4, rtol=1e-4)
    cache.select(torch.tensor([2, 0]))
    texts, logits = feed_one(cache, [texts[2], texts[0]], [40, 41])
    assert_rows(frozen, cache, texts, logits, (LAST,))
    texts, _ = drafted(cache, texts, 1)
    cache.join(fed(frozen, [[9, 8]], (LAST,))[0])
    texts, logits = feed_one(cache, [*texts, [9, 8]], [40, 41, 42])
    assert_rows(frozen, cache, texts, logits, (LAST,))
    texts, _ = drafted(cache, texts, 2)
    cache.propose(torch.tensor([[9, 10]] * 3), None)
    cache.rollback(1)
    texts, logits = feed_one(cache, [text[:-1] for text in texts], [20, 21, 22])
    assert_rows(frozen, cache, texts, logits, (LAST,))


def test_a_prefix_cache_receives_rows_without_their_holes(llama):
    prefix_cache = PrefixCache()
    cache, _ = fed(llama, [LONG, [50, 51]], prefix_cache=prefix_cache)
    texts, _ = drafted(cache, [LONG, [50, 51]], 0)
    texts, _ = feed_one(cache, texts, [40, 41])
    cache.remember()
    usage = Usage()
    again, logits = fed(llama, texts, prefix_cache=prefix_cache, usage=usage)
    assert_rows(llama, again, texts, logits)
    assert usage.tokens == 2


def test_the_places_of_a_draft_that_is_checked_stay_the_last_columns(llama):
    """Constraints against repetition look at each place's prefix before anything is taken back."""
    cache, _ = fed(llama, [LONG, [50, 51]])
    texts, _ = drafted(cache, [LONG, [50, 51]], 0)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    cache.feed(torch.tensor([[1, 2, 3], [4, 0, 0]]), mask, 3)
    ids, part = cache.prefixes
    assert ids[:, -3:].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert torch.equal(part[:, -3:], mask)
    before = [row[of_row].tolist() for row, of_row in zip(ids[:, :-3], part[:, :-3], strict=True)]
    assert before == texts


def test_a_rollback_past_the_shortest_row_is_refused(llama):
    cache, _ = fed(llama, [LONG, [50, 51]])
    cache.rollback(1)
    with pytest.raises(InvalidSetting, match="got a rollback of 1 tokens, expected 0 to 0"):
        cache.rollback(1)


def test_usage_counts_the_tokens_and_calls_of_the_cache(llama):
    usage = Usage()
    cache, _ = fed(llama, [LONG, [50, 51]], usage=usage)
    cache.propose(torch.tensor([[5, 6], [7, 8]]))
    assert usage == Usage(2 * 7 + 2 * 2, 2)
    prefix_cache = PrefixCache()
    assert KVCache(llama.model, prefix_cache=prefix_cache).usage is prefix_cache.usage


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3", "gpt2"])
def test_in_16_bits_tokens_fed_one_by_one_have_the_states_of_each_text_alone(family):
    """A mask that hides nothing goes along there, where heads share keys; layers with a window keep theirs."""
    lm = tiny_lm(family)
    lm.model.bfloat16()
    assert wants_mask(lm.model) == (family != "gpt2")
    texts = [LONG, LONG[::-1]]
    cache, _ = fed(lm, texts)
    for token in (5, 6, 7):
        texts, logits = feed_one(cache, texts, [token, token + 1])
        for row, text in enumerate(texts):
            whole = lm.model(torch.tensor([text]), use_cache=False).logits[0, -1]
            torch.testing.assert_close(logits[row], whole, atol=0.05, rtol=0.05)


def test_float32_needs_no_such_mask(frozen):
    assert not wants_mask(frozen.model)
