"""Drafts copied from the prompt and the text."""

from tiny import tiny_lm
from trimtab.engines.base import Request
from trimtab.engines.lookup import NgramIndex, PromptLookup
from trimtab.engines.sampling_params import SamplingParams
from trimtab.models.kv_cache import KVCache


def unsteered(candidates):
    return candidates.logits


HOST = KVCache(tiny_lm("llama").model)  # lookup reads nothing of it


def longest_match_by_hand(tokens, most):
    """Return what followed the last occurrence of the longest run at the end, by comparing all runs."""
    for length in (4, 3, 2):
        for place in range(len(tokens) - 1, length - 1, -1):
            if len(tokens) > length and tokens[place - length : place] == tokens[-length:]:
                draft = list(tokens)
                while len(draft) < len(tokens) + most:
                    draft.append(draft[place + len(draft) - len(tokens)])
                return draft[len(tokens) :]
    return []


def test_a_draft_is_what_followed_the_longest_run():
    tokens = [1, 2, 3, 4, 9, 3, 4, 8, 1, 2, 3, 4, 7, 5, 2, 3, 4]
    assert NgramIndex(tokens).continuation(3) == [7, 5, 2]
    assert NgramIndex([*tokens, 8]).continuation(2) == [1, 2]
    assert NgramIndex([1, 2, 3]).continuation(4) == []
    assert NgramIndex(tokens).continuation(0) == []


def test_a_draft_continues_in_itself():
    assert NgramIndex([1, 2, 3, 1, 2]).continuation(7) == [3, 1, 2, 3, 1, 2, 3]
    assert NgramIndex([5, 5, 5]).continuation(4) == [5, 5, 5, 5]


def test_an_index_that_grows_finds_what_a_comparison_of_all_runs_finds():
    tokens, index = [], NgramIndex([])
    for number in range(120):
        token = number * number % 7 % 3
        tokens.append(token)
        index.extend([token])
        assert index.continuation(5) == longest_match_by_hand(tokens, 5)


def tokens_of(drafts):
    """Return the tokens of chains."""
    assert not any(draft.branches for draft in drafts)
    return [list(draft.tokens) for draft in drafts]


def test_forked_rows_do_not_see_each_other():
    params = SamplingParams(seed=0, n=2)
    state = PromptLookup().start([Request([1, 2, 3, 1, 2], params)], HOST)
    state.append([[3, 1], [9, 9]])
    state.select([0, 0, 1])
    state.append([[2], [7], [9]])
    assert tokens_of(state.propose([2, 2, 2], unsteered, branches=False)) == [[3, 1], [], [9, 9]]
    other = PromptLookup().start([Request([4, 5, 4, 5], params)], HOST)
    state.join(other)
    assert tokens_of(state.propose([1, 1, 1, 1, 1], unsteered, branches=True)) == [[3], [], [9], [4], [4]]
