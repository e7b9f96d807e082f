"""How a comparison sends its prompts: as plain texts, or as user messages of conversations. No torch here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from trimtab.checking import checked

if TYPE_CHECKING:
    from trimtab.models.codec import Message, Prompt, TextCodec

PROBE = "x"  # a message that every chat template should take


@final
@checked
@dataclass(frozen=True)
class PromptForm:
    """The form of all prompts of a comparison.

    Attributes:
        chat: each prompt is a user message, and the model answers it.
        system: the system message before it; an empty one leaves the system turn out, also the one that a template
            would add. None for no message. It implies `chat`.
    """

    chat: bool = False
    system: str | None = None

    @classmethod
    def of_row(cls, settings: Mapping[str, Any]) -> "PromptForm":
        """The form in the settings of a row; rows of older versions are plain texts."""
        return cls(settings.get("chat", False), settings.get("system"))

    @property
    def is_chat(self) -> bool:
        """Whether prompts are conversations."""
        return self.chat or self.system is not None

    def record(self) -> dict[str, object]:
        """The form as the settings of a row hold it: empty for plain texts, as in rows of older versions."""
        system = {} if self.system is None else {"system": self.system}
        return {"chat": True, **system} if self.is_chat else {}

    def prompt(self, text: str) -> "Prompt":
        """What the model is given for the text of a table: the text itself, or a conversation."""
        if not self.is_chat:
            return text
        opening: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*opening, {"role": "user", "content": text}]

    def check(self, codec: "TextCodec") -> None:
        """Check that a model takes prompts of this form; its tokenizer is enough.

        Raises:
            InvalidSetting: it has no chat template, or one that cannot do without a system message.
            InvalidPrompt: its chat template refuses the messages, such as a system message.
        """
        if self.is_chat:
            codec.encode_prompt(self.prompt(PROBE))


PLAIN = PromptForm()
