"""Frozen dataclasses as command-line options: each field is an option.

The `Annotated` of a field holds its help text, or a `typer.Option` if there is more to say about it.
A parameter `Annotated[Settings, "Title"]` lists its options under that title in `--help`.
"""

import copy
import functools
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape
from typer.models import OptionInfo

from trimtab.errors import InvalidSetting

STRINGS = Sequence[str]
SETTING = re.compile(r"got (\w+)=")


class OptionGroup(NamedTuple):
    """A parameter that is a dataclass: its type, the title of its options in `--help`, and other defaults or None."""

    kind: Any
    title: str | None
    defaults: Any = None


def expands(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command whose type is a dataclass by one option per field.

    The command is called with the dataclass, so that every setting is declared once. A `Sequence[str]` becomes an
    option that may be repeated, and a bool whose default is False becomes a flag without its --no- form. If a
    parameter has a default, that has the defaults of its options.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    groups = {name: group for name in parameters if (group := _group(hints[name], parameters[name].default))}
    options: list[inspect.Parameter] = []
    for name, parameter in parameters.items():
        options += _expanded(groups[name]) if name in groups else [_keyword(parameter, hints[name])]

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        names = set(typed)
        try:
            for name, group in groups.items():
                typed[name] = _build(group.kind, typed)
            command(**typed)
        except InvalidSetting as error:
            raise type(error)(as_option(str(error), names)) from error

    ordered = sorted(options, key=lambda option: option.default is not inspect.Parameter.empty)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def as_option(message: str, names: Collection[str]) -> str:
    """Return a message about a setting, "got top_k=-1, …", as one about its option: "got --top-k -1, …"."""
    found = SETTING.match(message)
    if found is None or found[1] not in names:
        return message
    return f"got --{found[1].replace('_', '-')} {message[found.end() :]}"


def _group(hint: Any, defaults: Any) -> OptionGroup | None:
    kind, title = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    given = None if defaults is inspect.Parameter.empty else defaults
    return OptionGroup(kind, title, given) if is_dataclass(kind) else None


def _build(kind: Any, typed: dict[str, Any]) -> Any:
    """Take the fields of a dataclass out of the values typed, and build it."""
    types = get_type_hints(kind)
    values = {field.name: typed.pop(field.name) for field in fields(kind)}
    return kind(**{name: tuple(value or ()) if types[name] == STRINGS else value for name, value in values.items()})


def _keyword(parameter: inspect.Parameter, hint: Any) -> inspect.Parameter:
    return parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)


def _expanded(group: OptionGroup) -> list[inspect.Parameter]:
    types = get_type_hints(group.kind, include_extras=True)
    every = fields(group.kind)
    defaults = {
        each.name: each.default if group.defaults is None else getattr(group.defaults, each.name) for each in every
    }
    return [_option(each.name, types[each.name], defaults[each.name], group.title) for each in every]


def _option(name: str, annotated: Any, default: Any, title: str | None) -> inspect.Parameter:
    kind, about = get_args(annotated)
    keyword = inspect.Parameter.KEYWORD_ONLY
    if isinstance(about, OptionInfo):
        option = copy.copy(about)
        option.rich_help_panel = title
        return inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, option])
    flag = [f"--{name.replace('_', '-')}"] if default is False else []  # no --no- form
    option = typer.Option(*flag, help=escape(about), rich_help_panel=title)  # rich reads [c] as markup
    default = inspect.Parameter.empty if default is MISSING else default
    if kind == STRINGS:
        kind, default = list[str] | None, default or None
    return inspect.Parameter(name, keyword, default=default, annotation=Annotated[kind, option])
