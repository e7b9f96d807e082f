"""When a row ends: EOS, a stop string, or its limit."""

from collections.abc import Sequence
from typing import final

from trimtab.engines.base import FinishReason, Request
from trimtab.models.codec import TextCodec

WINDOW_MARGIN = 8  # tokens decoded beyond the bytes of the longest stop string


@final
class RowEnding:
    """The tokens of one row, and why it ended.

    Args:
        codec: decodes the tokens.
        request: the stop strings and the characters that end the row.
        limit: the maximum number of tokens, without those that the request has written already.
    """

    def __init__(self, codec: TextCodec, request: Request, limit: int):
        self._codec, self._until, self._limit = codec, tuple(request.until), limit
        self._stop = [text for text in request.params.stop if text]
        self._window = max((len(text.encode()) for text in self._stop), default=0) + WINDOW_MARGIN
        self._tokens, self._before = list(request.written), len(request.written)
        self.reason: FinishReason | None = None

    @property
    def room(self) -> int:
        """How many tokens may follow."""
        return self._limit - (len(self._tokens) - self._before)

    def take(self, tokens: Sequence[int]) -> int:
        """Append tokens up to the row's end; returns how many were taken."""
        for count, token in enumerate(tokens, start=1):
            self._tokens.append(token)
            self.reason = self._reason(token)
            if self.reason is not None:
                return count
        return len(tokens)

    def _reason(self, token: int) -> FinishReason | None:
        if token in self._codec.eos_token_ids:
            return "eos"
        written = self._codec.decode_behind(self._tokens[-self._window :]) if self._stop else ""
        if any(text in written for text in self._stop):
            return "stop"
        if self._until and self._codec.decode_behind(self._tokens[-WINDOW_MARGIN:]).endswith(self._until):
            return "until"
        return "length" if self.room <= 0 else None
