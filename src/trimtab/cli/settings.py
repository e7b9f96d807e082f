"""Frozen dataclasses as command-line options: every field an option, its help the text in its `Annotated` type."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer


def expands(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is typed as a dataclass by options for the dataclass's fields.

    The command is called with the dataclass, built from what was typed; so a setting is declared once.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    groups = {p.name: hints[p.name] for p in parameters if is_dataclass(hints.get(p.name))}
    options = [option for p in parameters for option in _options(p, hints, groups)]

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        for name, kind in groups.items():
            typed[name] = kind(**{field.name: typed.pop(field.name) for field in fields(kind)})
        command(**typed)

    ordered = sorted(options, key=lambda option: option.default is not inspect.Parameter.empty)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options(parameter: inspect.Parameter, hints: dict[str, Any], groups: dict[str, Any]) -> list[inspect.Parameter]:
    if parameter.name not in groups:
        return [parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)]
    kind = groups[parameter.name]
    types = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_option(types[field.name]),
        )
        for field in fields(kind)
    ]


def _option(annotated: Any) -> Any:
    kind, help_text = get_args(annotated)
    return Annotated[kind, typer.Option(help=help_text)]
