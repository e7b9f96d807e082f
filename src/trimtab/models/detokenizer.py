"""Token ids to text as they come: whole characters, and text that may end in a stop string."""

from collections.abc import Sequence
from typing import final

from trimtab.models.codec import TextCodec

UNFINISHED_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@final
class Detokenizer:
    """Turns token ids into text, as soon as a character is complete.

    Args:
        codec: decodes them.
        opens: whether the first token opens a text, and follows none.
    """

    def __init__(self, codec: TextCodec, opens: bool = False):
        self._codec, self._opens = codec, opens
        self._ids: list[int] = []
        self._context = self._read = 0

    def push(self, token_id: int, last: bool = False) -> str:
        """The text that a token adds; with `last`, half a character too, as a replacement character."""
        self._ids.append(token_id)
        decode = self._codec.decode if self._opens else self._codec.decode_behind
        before, after = decode(self._ids[self._context : self._read]), decode(self._ids[self._context :])
        half = after.endswith(UNFINISHED_CHARACTER) and not last
        if after == before or half:  # a special token, or half a character
            return ""
        self._context, self._read = self._read, len(self._ids)
        return after[len(before) :]


@final
class StreamedText:
    """Text that may end in a stop string: holds back what could be the start of one."""

    def __init__(self, stop: Sequence[str]):
        self._stop = [s for s in stop if s]
        self._held = ""

    def push(self, text: str, last: bool) -> str:
        """Take new text and return the text that is safe to show; with `last`, everything up to the stop string."""
        self._held += text
        if last:
            return cut_at_stop(self._held, self._stop)
        keep = max((len(s) - 1 for s in self._stop), default=0)
        safe = len(self._held) - keep if keep else len(self._held)
        shown, self._held = self._held[: max(safe, 0)], self._held[max(safe, 0) :]
        return shown


def whole_text(codec: TextCodec, ids: Sequence[int]) -> str:
    """The text of token ids. A character at its end whose bytes are not complete is left out."""
    return codec.decode(ids).rstrip(UNFINISHED_CHARACTER)


def visible_ids(codec: TextCodec, ids: Sequence[int], stop: Sequence[str]) -> list[int]:
    """Token ids without EOS, and without those that reach into the first stop string or stand after it."""
    kept = [token for token in ids if token not in codec.eos_token_ids]
    length = len(cut_at_stop(codec.decode_behind(kept), stop)) if any(stop) else None
    while length is not None and len(codec.decode_behind(kept)) > length:
        kept.pop()
    return kept


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string in it."""
    places = [place for s in stop if s and (place := text.find(s)) >= 0]
    return text[: min(places)] if places else text
