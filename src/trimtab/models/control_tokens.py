"""The control tokens of a tokenizer: found in text, hidden from a chat template, and encoded as plain text."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import final

from transformers import AddedToken, PreTrainedTokenizerBase

from trimtab.errors import InvalidPrompt

PRIVATE_USE = range(0xF0000, 0xFFFFE)  # characters that stand for hidden tokens

Encode = Callable[[str], list[int]]


@final
class ControlTokens:
    """The tokens that tell a model who speaks, and where a turn ends.

    They are the special tokens, and those that the chat template names, such as `<tool_call>`. Other added tokens, such
    as Gemma's `<b>`, are ordinary text. A named token that the template writes around every message, such as a turn
    marker that nobody declared special, counts as special.

    Args:
        tokenizer: the tokenizer.
        rendered: a plain conversation in the chat template; default: none.

    Attributes:
        may_normalize: whether the tokenizer changes characters before it looks for tokens, so that a text may become a
            control token that it does not look like.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rendered: str = ""):
        template = str(tokenizer.chat_template or "")
        added = {token.content: token for token in tokenizer.added_tokens_decoder.values() if token.content.strip()}
        special = {text for text, token in added.items() if token.special} | set(tokenizer.all_special_tokens)
        special |= {text for text in added if text in template and text in rendered}
        named = {text for text in added if text not in special and text in template}
        self._special, self._every = _pattern(special), _pattern(special | named)
        self._written = _pattern_in_templates(special | named, added)
        self._prefixes = {text[:length] for text in special | named for length in range(1, len(text))}
        ids = tokenizer.convert_tokens_to_ids(sorted(special | named))
        self._ids = dict(zip(sorted(special | named), ids, strict=True))
        self._forbidden = set(ids) - {tokenizer.unk_token_id}
        self._special_ids = {self._ids[text] for text in special} - {tokenizer.unk_token_id}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self.may_normalize = backend is None or backend.normalizer is not None

    def hide(self, texts: Sequence[str], own: Sequence[bool]) -> tuple[list[str], dict[str, str]]:
        """Replace each control token in some texts by a character that none of them has.

        Args:
            texts: the texts.
            own: whether each text may be the model's own: then the tokens that the template names, such as `</think>`,
                keep their meaning.

        Returns:
            The texts, and the token that each character stands for.
        """
        used = set().union(*texts)
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in used)
        marks: dict[str, str] = {}

        def mark(match: re.Match[str]) -> str:
            if match[0] not in marks:
                marks[match[0]] = next(free)
            return marks[match[0]]

        hidden = [
            (self._special if is_own else self._every).sub(mark, text) for text, is_own in zip(texts, own, strict=True)
        ]
        return hidden, {character: token for token, character in marks.items()}

    def begins(self, text: str) -> bool:
        """Whether a text ends with the beginning of a control token, which the next text might complete."""
        longest = max(map(len, self._prefixes), default=0)
        return any(text[-length:] in self._prefixes for length in range(1, min(longest, len(text)) + 1))

    def sequence(self, text: str) -> list[str]:
        """The control tokens in a text, in order."""
        return [match[0] for match in self._every.finditer(text)]

    def ids_in(self, ids: Sequence[int], special_only: bool = False) -> list[int]:
        """The control tokens among token ids, in order.

        Args:
            ids: the token ids.
            special_only: leave out those that the model itself may write, such as `</think>`.
        """
        wanted = self._special_ids if special_only else self._forbidden
        return [token for token in ids if token in wanted]

    def encode_rendered(self, rendered: str, marks: dict[str, str], encode: Encode) -> list[int]:
        """Token ids of a rendered conversation: its control tokens are tokens, those behind marks are text.

        Args:
            rendered: the chat template's text, with marks.
            marks: the token that each mark stands for.
            encode: encodes text with special tokens as text.
        """
        ids: list[int] = []
        restore = str.maketrans(marks)
        for text, token in self._pieces(rendered):
            ids += self.encode_literal(text.translate(restore), encode)
            ids += [self._ids[token]] if token else []
        return ids

    def encode_literal(self, text: str, encode: Encode) -> list[int]:
        """Token ids of a text in which control tokens are text.

        Args:
            text: the text.
            encode: encodes text with special tokens as text.

        Raises:
            InvalidPrompt: the tokenizer has no other way to write one of them.
        """
        if not text:
            return []
        ids = encode(text)
        if self._forbidden.isdisjoint(ids):
            return ids
        ids = [token for part in self._cut(text) for token in encode(part)]
        if not self._forbidden.isdisjoint(ids):
            found = ", ".join(self.sequence(text)) or "a control token in other characters"
            raise InvalidPrompt(f"got a text with {found}, which this tokenizer cannot write as text; leave it out")
        return ids

    def _pieces(self, rendered: str) -> Iterator[tuple[str, str]]:
        """Text and the control token behind it; "" behind the last text."""
        start = 0
        for match in self._written.finditer(rendered):
            yield rendered[start : match.start()], next(group for group in match.groups() if group)
            start = match.end()
        yield rendered[start:], ""

    def _cut(self, text: str) -> Iterator[str]:
        """A text in parts, each control token cut behind its first character."""
        start = 0
        for match in self._every.finditer(text):
            yield text[start : match.start() + 1]
            start = match.start() + 1
        yield text[start:]


def _pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Match any of some tokens, the longest first; nothing if there are none."""
    ordered = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def _pattern_in_templates(tokens: Iterable[str], added: dict[str, AddedToken]) -> re.Pattern[str]:
    """The same, with the white space that a token takes in; the token is the group that matches."""
    found = []
    for text in sorted(tokens, key=len, reverse=True):
        token = added.get(text)
        before, behind = (r"\s*" if token and side else "" for side in (token and token.lstrip, token and token.rstrip))
        found.append(f"{before}({re.escape(text)}){behind}")
    return re.compile("|".join(found) or r"(?!)")
