"""From prompts to token ids and from token ids to text. A prompt is a text or a conversation."""

import copy
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import Protocol, final, runtime_checkable

from transformers import PreTrainedTokenizerBase

from trimtab.checking import shown
from trimtab.data.json_text import dump_json
from trimtab.errors import InvalidPrompt
from trimtab.models.chat_template import (
    ROLES,
    ChatTemplate,
    TemplateOption,
    check_template_options,
    rendered_plainly,
)
from trimtab.models.control_tokens import ControlTokens
from trimtab.models.text_fingerprint import text_fingerprint

SHOWN = 40  # characters of a prompt in an error message


Message = Mapping[str, str]  # "role" and "content", as chat templates take them
Conversation = Sequence[Message]
Prompt = str | Conversation


@runtime_checkable
class TextCodec(Protocol):
    """Encodes prompts and decodes tokens for an engine."""

    @property
    def name(self) -> str:
        """The model's name, for messages."""

    @property
    def context_length(self) -> int:
        """The longest sequence that the model reads, in tokens."""

    @property
    def eos_token_ids(self) -> Collection[int]:
        """Every token that ends a text."""

    @property
    def bos_token_id(self) -> int | None:
        """The token that opens a text without context: BOS, or EOS if there is no BOS."""

    @property
    def fingerprint(self) -> str:
        """A hash of the vocabulary: equal for two tokenizers whose ids mean the same tokens."""

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, with the special tokens that the model expects before it.

        A plain text is the model's raw input: control tokens in it, such as `<|im_end|>`, are control tokens. In the
        messages of a conversation they are text.

        Raises:
            InvalidPrompt: it is empty, not text, or leaves no room in the context.
            InvalidSetting: a conversation, and the model has no chat template.
        """

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a raw text, without special tokens before it; may be empty."""

    def encode_literal(self, text: str) -> list[int]:
        """Token ids of a text that somebody else wrote: control tokens in it are text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""

    def decode_behind(self, ids: Sequence[int]) -> str:
        """The text that token ids add to a text before them. Some tokenizers drop the first space of a whole text."""

    def token_text(self, token_id: int) -> str:
        """One token as text, special tokens shown."""

    def opening_ids(self) -> list[int]:
        """The special tokens that stand before every plain text, such as BOS; empty for most models."""

    def render(self, conversation: Conversation, continue_final_message: bool = False) -> str:
        """A conversation in the model's chat template.

        The text cannot tell control tokens in messages from the template's own. To encode a conversation, use
        `encode_prompt`.

        Args:
            conversation: the messages. A first system message without text leaves the system turn out, where a template
                would fill in one of its own.
            continue_final_message: end behind the last message, instead of opening the assistant's turn.

        Raises:
            InvalidPrompt: not a list of messages.
            InvalidSetting: the model has no chat template.
        """


@final
class TokenizerCodec:
    """A transformers tokenizer as a codec. It may be used from several threads.

    Args:
        tokenizer: the tokenizer.
        name: the model's name, for messages.
        context_length: the longest sequence that the model reads, in tokens.
        eos_token_ids: every token that ends a text.
        vocabulary_size: how many tokens the model knows, which may be fewer than the tokenizer has; None if unknown.
        chat_template_kwargs: variables of the chat template, such as `enable_thinking`.

    Attributes:
        chat_template_fingerprint: a hash of the chat template and its variables.

    Raises:
        InvalidSetting: the chat template has no such variable.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        context_length: int,
        eos_token_ids: Collection[int],
        vocabulary_size: int | None = None,
        chat_template_kwargs: Mapping[str, TemplateOption] | None = None,
    ):
        self.tokenizer, self.name = tokenizer, name
        self.context_length, self.eos_token_ids = context_length, frozenset(eos_token_ids)
        first = tokenizer.bos_token_id
        self.bos_token_id: int | None = tokenizer.eos_token_id if first is None else first
        self._set_template_options(chat_template_kwargs or {})
        self._vocabulary_size = vocabulary_size
        self._lock = Lock()  # a fast tokenizer cannot encode in two threads at once

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the vocabulary, which takes a tenth of a second."""
        return vocabulary_fingerprint(self.tokenizer)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a text, or of a conversation with the assistant's turn open."""
        if isinstance(prompt, str):
            check_text(prompt)
            ids = self._encode(prompt, special_tokens=True) if prompt else []
        else:
            check_conversation(prompt)
            with self._lock:
                ids = self._template.encode([dict(message) for message in prompt])
        if not ids:
            raise InvalidPrompt("got an empty prompt, expected at least one token of text to continue")
        self._check_known(ids)
        if len(ids) >= self.context_length:
            raise InvalidPrompt(
                f"got a prompt of {len(ids)} tokens, expected fewer than the context of {self.context_length}; "
                f"shorten the one that starts {prompt_text(prompt)[:SHOWN]!r}"
            )
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a raw text, without special tokens before it."""
        check_text(text)
        return self._encode(text, special_tokens=False)

    def encode_literal(self, text: str) -> list[int]:
        """Token ids of a text in which control tokens are text."""
        check_text(text)
        with self._lock:
            return self._control.encode_literal(text, self._encode_as_text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def decode_behind(self, ids: Sequence[int]) -> str:
        """The text that token ids add to a text before them."""
        anchor, length = self._anchor
        return self.decode([*anchor, *ids])[length:]

    def token_text(self, token_id: int) -> str:
        """One token as text, special tokens shown."""
        return str(self.tokenizer.decode([token_id]))

    def opening_ids(self) -> list[int]:
        """The special tokens that the tokenizer puts before every text."""
        return self._encode("", special_tokens=True)

    def render(self, conversation: Conversation, continue_final_message: bool = False) -> str:
        """A conversation in the tokenizer's chat template."""
        check_conversation(conversation)
        turns = [dict(message) for message in conversation]
        return self._template.render(turns, continue_final_message)

    def with_template_options(self, chat_template_kwargs: Mapping[str, TemplateOption]) -> "TokenizerCodec":
        """The same codec with further variables of the chat template.

        Raises:
            InvalidSetting: the template has no such variable.
        """
        codec = copy.copy(self)  # it shares the lock, because it shares the tokenizer
        codec._set_template_options({**self.chat_template_kwargs, **chat_template_kwargs})
        return codec

    def _set_template_options(self, options: Mapping[str, TemplateOption]) -> None:
        check_template_options(self.tokenizer, options, self.name)
        self.chat_template_kwargs = dict(options)
        settings = dump_json(self.chat_template_kwargs, ascii_only=True) if options else ""
        self.chat_template_fingerprint = text_fingerprint(str(self.tokenizer.chat_template or "") + settings)

    @cached_property
    def _anchor(self) -> tuple[list[int], int]:
        """A token that other tokens may follow, and the length of its text."""
        anchor = self.encode_literal("a")[-1:]
        return anchor, len(self.decode(anchor))

    @property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self.tokenizer, self._control, self.name, self.chat_template_kwargs)

    @cached_property
    def _control(self) -> ControlTokens:
        return ControlTokens(self.tokenizer, rendered_plainly(self.tokenizer))

    def _encode_as_text(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def _encode(self, text: str, special_tokens: bool) -> list[int]:
        with self._lock:
            ids = list(self.tokenizer(text, add_special_tokens=special_tokens)["input_ids"])
        self._check_known(ids)
        return ids

    def _check_known(self, ids: Sequence[int]) -> None:
        """Refuse tokens that the tokenizer has and the model has not."""
        if self._vocabulary_size is None:
            return
        if unknown := next((token for token in ids if token >= self._vocabulary_size), None):
            raise InvalidPrompt(
                f"got text with the token {shown(self.token_text(unknown))}, which {self.name} does not know: its "
                f"tokenizer has more tokens than the model's {self._vocabulary_size}"
            )


def vocabulary_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """A hash of a tokenizer's vocabulary: equal for two whose ids mean the same tokens."""
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return text_fingerprint(dump_json(vocabulary, ascii_only=True))


def prompt_text(prompt: Prompt) -> str:
    """A prompt as one text: itself, the content of a single message, or one line per turn."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def check_conversation(conversation: object) -> None:
    """Refuse what is not a list of messages.

    Raises:
        InvalidPrompt: it is empty, or a message lacks a role or a text, has a role that is none of ROLES, or has more
            keys than these two.
    """
    if isinstance(conversation, str) or not isinstance(conversation, Sequence):
        raise InvalidPrompt(
            f"got {shown(conversation)}, expected a list of messages, such as [{{'role': 'user', 'content': 'Hello'}}]"
        )
    if not conversation:
        raise InvalidPrompt("got an empty conversation, expected at least one message")
    for message in conversation:
        _check_message(message)
    if not conversation[-1]["content"]:
        raise InvalidPrompt("got an empty last message, expected text to answer")


def _check_message(message: object) -> None:
    if (
        not isinstance(message, Mapping)
        or set(message) != {"role", "content"}
        or not all(isinstance(value, str) for value in message.values())
    ):
        raise InvalidPrompt(f"got the message {shown(message)}, expected {{'role': 'user', 'content': 'a text'}}")
    if message["role"] not in ROLES:
        raise InvalidPrompt(f"got the role {shown(message['role'])}, expected one of: {', '.join(ROLES)}")
    check_text(message["content"])


def check_text(text: str) -> None:
    """Refuse half a surrogate pair, which has no encoding.

    Raises:
        InvalidPrompt: it cannot be encoded.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidPrompt(f"got {shown(text)}, expected text that has a UTF-8 encoding ({error.reason})") from error
