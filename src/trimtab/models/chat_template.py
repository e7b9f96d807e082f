"""Conversations in a model's chat template: an empty system message means no system turn, and users' text is text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from transformers import PreTrainedTokenizerBase

from trimtab.checking import shown
from trimtab.data.hub import reason_of
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.models.control_tokens import ControlTokens

ROLES = ("system", "user", "assistant", "tool")
SYSTEM_MARK, PLAIN_MARK = "\U00100000", "x"

COMMON_OPTIONS = ("enable_thinking", "thinking", "reasoning_effort", "custom_instructions", "date_string")
SET_BY_CALLS = ("messages", "add_generation_prompt", "tools", "documents", "bos_token", "eos_token")

Turn = dict[str, str]
TemplateOption = bool | int | float | str


@final
@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a model.

    Attributes:
        tokenizer: has the template.
        control: its control tokens.
        name: the model's name, for messages.
        options: variables of the template, such as `enable_thinking`.
    """

    tokenizer: PreTrainedTokenizerBase
    control: ControlTokens
    name: str
    options: Mapping[str, TemplateOption]

    def render(self, turns: Sequence[Turn], continue_final_message: bool = False) -> str:
        """A conversation in the chat template. A first system message without text leaves the system turn out.

        Args:
            turns: the messages.
            continue_final_message: end behind the last message, instead of opening the assistant's turn.

        Raises:
            InvalidPrompt: the template refuses the conversation.
            InvalidSetting: there is no template, or it always has a system turn.
        """
        if not self.tokenizer.chat_template:
            raise InvalidSetting(f"got a conversation, but {self.name} has no chat template; pass a text instead")
        if turns[0] != {"role": "system", "content": ""}:
            return self._rendered(turns, continue_final_message)
        without = self._rendered(turns[1:], continue_final_message)
        marked = [{"role": "system", "content": SYSTEM_MARK}, *turns[1:]]
        try:
            before, _, behind = self._rendered(marked, continue_final_message).partition(SYSTEM_MARK)
        except InvalidPrompt:  # it knows no system messages
            return without
        if not without.startswith(before) or not without.endswith(behind):
            return without
        is_filled_in = len(without) > len(before) + len(behind)
        if is_filled_in or (without == before + behind and _has_other_text(before, behind, self.control)):
            return _without_system_turn(before, behind, self.control, self.name)
        return without

    def encode(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation with the assistant's turn open. Control tokens in the messages are text.

        A conversation without any has the ids that transformers' own `apply_chat_template` gives it.

        Raises:
            InvalidPrompt, InvalidSetting: as in `render`; or messages form a control token together.
        """
        control, contents = self.control, [turn["content"] for turn in turns]
        hidden, marks = control.hide(contents, [turn["role"] == "assistant" for turn in turns])
        safe = [{**turn, "content": content} for turn, content in zip(turns, hidden, strict=True)]
        rendered = self.render(safe)
        if any(map(control.begins, hidden)) and control.sequence(rendered) != control.sequence(
            self._with_plain(turns, ROLES)
        ):
            raise InvalidPrompt("got messages that form a control token together; separate them by a word or a line")
        literal = control.encode_rendered(rendered, marks, self._encode_literally) if marks else None
        ids = self._encode(rendered) if literal is None else literal
        if control.may_normalize:
            self._check_same_controls(ids, safe)
        return ids

    def _rendered(self, turns: Sequence[Turn], continue_final_message: bool) -> str:
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(turns),
                    add_generation_prompt=not continue_final_message,
                    continue_final_message=continue_final_message,
                    tokenize=False,
                    **self.options,
                )
            )
        except Exception as error:  # a template is a program that comes with the model
            reason = reason_of(error)
            raise InvalidPrompt(
                f"got a conversation that the chat template of {self.name} refuses: {reason}"
            ) from error

    def _with_plain(self, turns: Sequence[Turn], replaced: Sequence[str]) -> str:
        """The conversation with a plain word for each message of these roles."""
        plain = [
            {**turn, "content": turn["content"] and PLAIN_MARK} if turn["role"] in replaced else turn for turn in turns
        ]
        return self.render(plain)

    def _check_same_controls(self, ids: Sequence[int], safe: Sequence[Turn]) -> None:
        """Refuse a message that the tokenizer's normalizer turns into a control token."""
        others = [role for role in ROLES if role != "assistant"]
        everything, theirs = (self._encode(self._with_plain(safe, roles)) for roles in (ROLES, others))
        find = self.control.ids_in
        if find(ids, special_only=True) != find(everything, special_only=True) or find(ids) != find(theirs):
            raise InvalidPrompt(
                "got a message that this tokenizer reads as a control token in other characters; leave these out"
            )

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _encode_literally(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def check_template_options(
    tokenizer: PreTrainedTokenizerBase, options: Mapping[str, TemplateOption], name: str
) -> None:
    """Refuse options that the chat template of a model does not use.

    Raises:
        InvalidSetting: there is no template, it does not name an option, or an option is set by each call.
    """
    template = str(tokenizer.chat_template or "")
    for option in options:
        used = re.search(rf"\b{re.escape(option)}\b", template)
        if not used or option in SET_BY_CALLS:
            known = ", ".join(each for each in COMMON_OPTIONS if each in template) or "none of the usual ones"
            raise InvalidSetting(
                f"got the option {shown(option)}, expected one that the chat template of {name} uses; it has {known}"
            )


def rendered_plainly(tokenizer: PreTrainedTokenizerBase) -> str:
    """A plain conversation in the chat template, without an open turn; empty if there is none or it refuses."""
    turns = [{"role": role, "content": PLAIN_MARK} for role in ("user", "assistant", "user")]
    try:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=False, tokenize=False))
    except Exception:  # a template is a program that comes with the model
        return ""


def _has_other_text(before: str, behind: str, control: ControlTokens) -> bool:
    """Whether the turn of a system message, which stood between `before` and `behind`, has text of the template's."""
    words, closing = before, control.sequence(behind)
    for token in control.sequence(before):
        words = words.replace(token, "")
    return bool(words.strip() and closing and behind.startswith(closing[0]))


def _without_system_turn(before: str, behind: str, control: ControlTokens, name: str) -> str:
    """A rendered conversation without its first turn, of which the text stood between `before` and `behind`.

    The turn starts at the last of the control tokens that open the conversation, and ends behind the first one after
    the text.
    """
    start, end, closed = -1, 0, control.sequence(behind)
    for token in control.sequence(before):
        if not before[end:].lstrip().startswith(token):
            break
        start = before.index(token, end)
        end = start + len(token)
    if start >= 0 and closed:
        return before[:start] + behind[behind.index(closed[0]) + len(closed[0]) :].lstrip()
    raise InvalidSetting(f"got an empty system message, but the chat template of {name} always has one; give it a text")
