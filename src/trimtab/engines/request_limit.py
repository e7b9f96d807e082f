"""How many tokens a request may have: everything about it that an engine can check before it works is checked here."""

from trimtab.engines.base import Request
from trimtab.errors import InvalidPrompt
from trimtab.models.codec import TextCodec
from trimtab.steering.steer import distinct_rewards


def request_limit(request: Request, codec: TextCodec, vocabulary_size: int, context_length: int | None = None) -> int:
    """The most new tokens of a request.

    Args:
        request: the request.
        codec: of the model.
        vocabulary_size: how many logits the model returns.
        context_length: of the engine, in tokens; default: the model's.

    Raises:
        InvalidSetting: more candidates than there are tokens, or than a reward can score; or a steer that can steer
            nothing.
        InvalidPrompt: the prefix is empty, or leaves no room in the context of the model or of a reward.
        RewardMismatch: a reward was made for another tokenizer.
    """
    request.params.check_vocabulary(vocabulary_size)
    if request.steer is not None:
        request.steer.check_acts(vocabulary_size)
        request.params.check_choice(vocabulary_size)
    rooms = [codec.context_length, *([] if context_length is None else [context_length])]
    for reward in distinct_rewards([request.steer]):
        reward.check_serves(codec.fingerprint)
        reward.check_candidates(request.params.top_k)
        rooms.append(reward.context_length - reward.extra_tokens)
    room = min(rooms) - len(request.tokens)
    if room < 1 or not request.prefix:
        raise InvalidPrompt(f"got a prompt of {len(request.tokens)} tokens, expected 1 to {min(rooms) - 1}")
    return min(request.params.max_new_tokens, room)
