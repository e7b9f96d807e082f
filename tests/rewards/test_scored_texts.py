"""Texts that a reward scores fit its base's context, together with the BOS that it adds."""

import pytest

from tiny import tiny_reward
from trimtab import errors
from trimtab.rewards.scored_texts import encode_scored


@pytest.mark.parametrize(("bos_token_id", "room"), [(None, 64), (1, 63)])
def test_a_text_may_fill_the_context_but_for_the_bos(llama, bos_token_id, room):
    card = tiny_reward(llama, "q", bos_token_id=bos_token_id).card
    assert encode_scored(card, llama.codec, "w1 " * room) == llama.codec.encode_text("w1 " * room)
    with pytest.raises(errors.InvalidPrompt, match=f"got a text of {room + 1} tokens, expected 1 to {room}: 'w1 w1"):
        encode_scored(card, llama.codec, "w1 " * (room + 1))


def test_a_text_without_a_token_is_refused(llama):
    with pytest.raises(errors.InvalidPrompt, match="got a text of 0 tokens"):
        encode_scored(tiny_reward(llama, "q").card, llama.codec, " ")
