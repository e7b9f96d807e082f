"""The history of hidden states against one tensor that holds them all."""

import pytest
import torch

from trimtab.models.state_history import StateHistory, join_histories

STATES = torch.arange(2 * 6 * 3, dtype=torch.float32).reshape(2, 6, 3)


def history_of(pieces):
    history, start = StateHistory(), 0
    for tokens in pieces:
        history.append(STATES[:, start : start + tokens])
        start += tokens
    return history


def test_a_rollback_crosses_pieces():
    for pieces in ([6], [3, 2, 1], [1] * 6):
        for back in range(6):
            history = history_of(pieces)
            history.rollback(back)
            assert history.tokens == 6 - back
            assert torch.equal(history.last(), STATES[:, 5 - back])
            assert torch.equal(history.whole(), STATES[:, : 6 - back])


def test_select_and_keep_last():
    history = history_of([2, 4])
    history.select(torch.tensor([1, 1, 0]))
    history.keep_last(4)
    assert torch.equal(history.whole(), STATES[[1, 1, 0], 2:])
    history.keep_last(9)
    assert history.tokens == 4


def test_a_compact_history_reaches_equally_far_back_in_every_row():
    history = history_of([2, 2])  # of the last four of five columns
    history.compact(torch.tensor([[True, True, False, True, True], [True, True, True, False, False]]))
    assert torch.equal(history.whole(), torch.stack([STATES[0, [2, 3]], STATES[1, [0, 1]]]))


@pytest.mark.parametrize(("pieces", "most"), [([4, 2], 3), ([1, 5], 4), ([1, 5], 3), ([4, 2], 40)])
def test_the_state_some_tokens_before_the_last(pieces, most):
    found = history_of(pieces).at(torch.tensor([0, 3]), most)
    assert torch.equal(found, torch.stack([STATES[0, 5], STATES[1, 2]]))


def test_joined_histories_reach_as_far_back_as_both():
    short = StateHistory()
    short.append(STATES[:1, 4:])
    joined = join_histories(history_of([3, 3]), short, (2, 1))
    assert torch.equal(joined.whole(), torch.cat([STATES[:, 4:], STATES[:1, 4:]]))
    alone = join_histories(None, history_of([6]), (1, 2))
    assert torch.equal(alone.whole(), torch.cat([torch.zeros(1, 6, 3), STATES]))
