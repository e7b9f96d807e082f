"""Conversations in a model's chat template: an empty system message means no system turn, and users' text is text."""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from trimtab.data.hub import reason_of
from trimtab.errors import InvalidPrompt, InvalidSetting
from trimtab.models.control_tokens import ControlTokens

ROLES = ("system", "user", "assistant", "tool")
SYSTEM_MARK, PLAIN_MARK = "\U00100000", "x"

Turn = dict[str, str]


def render_turns(
    tokenizer: PreTrainedTokenizerBase, control: ControlTokens, turns: Sequence[Turn], open_turn: bool, name: str
) -> str:
    """A conversation in a chat template. A first system message without text leaves the system turn out.

    Args:
        tokenizer: has the template.
        control: its control tokens.
        turns: the messages.
        open_turn: open the assistant's turn behind them.
        name: the model's name, for messages.

    Raises:
        InvalidPrompt: the template refuses the conversation.
        InvalidSetting: there is no template, or it always has a system turn.
    """
    if not tokenizer.chat_template:
        raise InvalidSetting(f"got a conversation, but {name} has no chat template; pass a text instead")

    def render(turns: Sequence[Turn]) -> str:
        try:
            return str(tokenizer.apply_chat_template(list(turns), add_generation_prompt=open_turn, tokenize=False))
        except Exception as error:  # a template is a program that comes with the model
            reason = reason_of(error)
            raise InvalidPrompt(f"got a conversation that the chat template of {name} refuses: {reason}") from error

    if turns[0] != {"role": "system", "content": ""}:
        return render(turns)
    without = render(turns[1:])
    try:
        before, _, behind = render([{"role": "system", "content": SYSTEM_MARK}, *turns[1:]]).partition(SYSTEM_MARK)
    except InvalidPrompt:  # it knows no system messages
        return without
    fills_in = without.startswith(before) and without.endswith(behind) and len(without) > len(before) + len(behind)
    return _without_system_turn(before, behind, control, name) if fills_in else without


def encode_turns(
    tokenizer: PreTrainedTokenizerBase, control: ControlTokens, turns: Sequence[Turn], name: str
) -> list[int]:
    """Token ids of a conversation with the assistant's turn open. Control tokens in the messages are text.

    A conversation without any has the ids that transformers' own `apply_chat_template` gives it.

    Raises:
        InvalidPrompt, InvalidSetting: as in `render_turns`; or messages form a control token together.
    """
    contents = [turn["content"] for turn in turns]
    hidden, marks = control.hide(contents, [turn["role"] == "assistant" for turn in turns])
    safe = [{**turn, "content": content} for turn, content in zip(turns, hidden, strict=True)]
    rendered = render_turns(tokenizer, control, safe, True, name)
    if any(map(control.begins, hidden)):
        plain = [{**turn, "content": turn["content"] and PLAIN_MARK} for turn in turns]
        if control.sequence(rendered) != control.sequence(render_turns(tokenizer, control, plain, True, name)):
            raise InvalidPrompt("got messages that form a control token together; separate them by a word or a line")

    def encode(text: str, literal: bool) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, split_special_tokens=literal)["input_ids"])

    def encode_plain(replaced: Sequence[str]) -> list[int]:
        """Token ids of the conversation with a plain word for each message of these roles."""
        plain = [
            {**turn, "content": turn["content"] and PLAIN_MARK} if turn["role"] in replaced else turn for turn in safe
        ]
        return encode(render_turns(tokenizer, control, plain, True, name), literal=False)

    literal = control.encode_rendered(rendered, marks, lambda text: encode(text, literal=True)) if marks else None
    ids = encode(rendered, literal=False) if literal is None else literal
    if control.may_normalize:
        others = [role for role in ROLES if role != "assistant"]
        if control.ids_in(ids, special_only=True) != control.ids_in(encode_plain(ROLES), special_only=True) or (
            control.ids_in(ids) != control.ids_in(encode_plain(others))
        ):
            raise InvalidPrompt(
                "got a message that this tokenizer reads as a control token in other characters; leave these out"
            )
    return ids


def rendered_plainly(tokenizer: PreTrainedTokenizerBase) -> str:
    """A plain conversation in the chat template, without an open turn; empty if there is none or it refuses."""
    turns = [{"role": role, "content": PLAIN_MARK} for role in ("user", "assistant", "user")]
    try:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=False, tokenize=False))
    except Exception:  # a template is a program that comes with the model
        return ""


def _without_system_turn(before: str, behind: str, control: ControlTokens, name: str) -> str:
    """A rendered conversation without its first turn, of which the text stood between `before` and `behind`.

    The turn starts at the last control token before the text, and ends behind the first one after it.
    """
    opened, closed = control.sequence(before), control.sequence(behind)
    if opened and closed:
        start = before.rindex(opened[-1])
        end = behind.index(closed[0]) + len(closed[0])
        others = "".join(control.sequence(before[:start]))
        if re.sub(r"\s", "", before[:start]) == re.sub(r"\s", "", others):
            return before[:start] + behind[end:].lstrip()
    raise InvalidSetting(f"got an empty system message, but the chat template of {name} always has one; give it a text")
