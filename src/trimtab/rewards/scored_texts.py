"""Token ids of texts that a reward scores, by the tokenizer of its base alone."""

from collections.abc import Sequence

from trimtab.checking import shown
from trimtab.errors import InvalidPrompt
from trimtab.models.codec import TextCodec
from trimtab.rewards.card import RewardCard


def encode_scored(card: RewardCard, codec: TextCodec, text: str, before: Sequence[int] = ()) -> list[int]:
    """Token ids of a text to score, without special tokens; the network adds BOS.

    Args:
        card: of the reward.
        codec: of its base.
        text: the text.
        before: token ids before it, such as those of a conversation that it answers.

    Raises:
        InvalidPrompt: the text is empty or longer than the context.
    """
    ids, room = [*before, *codec.encode_text(text)], codec.context_length - card.extra_tokens
    if not 1 <= len(ids) <= room:
        raise InvalidPrompt(f"got a text of {len(ids)} tokens, expected 1 to {room}: {shown(text)}")
    return ids
