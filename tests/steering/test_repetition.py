"""Constraints against repetition, against transformers' own processors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from trimtab.steering.repetition import ban_repeated_ngrams, penalize_repetition

VOCABULARY, PAD = 7, 3
EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
texts = st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12), min_size=1, max_size=4)
penalties = st.floats(0.5, 3, width=32)


def padded(rows):
    width = max(map(len, rows))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
    return ids, torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])


def logits_of(rows):
    logits = torch.randn(len(rows), VOCABULARY, generator=torch.Generator().manual_seed(len(rows)))
    logits[:, 0] = -torch.inf  # a hard constraint of somebody else
    return logits


@EXAMPLES
@given(texts, st.lists(penalties, min_size=4, max_size=4))
def test_the_penalty_is_that_of_transformers_for_each_row_alone(rows, given_penalties):
    logits, penalty = logits_of(rows), torch.tensor(given_penalties[: len(rows)])
    found = penalize_repetition(logits, *padded(rows), penalty)
    for row, text in enumerate(rows):
        processor = RepetitionPenaltyLogitsProcessor(penalty[row].item())
        assert torch.equal(found[row], processor(torch.tensor([text]), logits[row : row + 1])[0])


@EXAMPLES
@given(texts, st.integers(1, 5), st.lists(st.booleans(), min_size=4, max_size=4))
def test_banned_tokens_are_those_of_transformers_for_each_row_alone(rows, size, chosen):
    logits, limited = logits_of(rows), torch.tensor(chosen[: len(rows)])
    found = ban_repeated_ngrams(logits, *padded(rows), size, limited)
    for row, text in enumerate(rows):
        expected = NoRepeatNGramLogitsProcessor(size)(torch.tensor([text]), logits[row : row + 1])[0]
        assert torch.equal(found[row], expected if limited[row] else logits[row])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_run_that_occurs_bans_its_last_token(size):
    text = [4, 5, 6, 4, 5]
    banned = {1: {4, 5, 6}, 2: {6}, 3: {6}}[size]
    logits = torch.zeros(1, VOCABULARY)
    found = ban_repeated_ngrams(logits, *padded([text]), size, torch.tensor([True]))
    assert {token for token in range(VOCABULARY) if found[0, token] == -torch.inf} == banned
    assert torch.equal(logits, torch.zeros(1, VOCABULARY))
