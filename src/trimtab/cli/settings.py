"""Frozen dataclasses as command-line options: every field an option, its help the text in its `Annotated` type.

A parameter `Annotated[Settings, "Title"]` has its options under that title in `--help`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer


def expands(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command that is typed as a dataclass by options for the dataclass's fields.

    The command is called with the dataclass, built from what was typed; so a setting is declared once.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    groups = {p.name: _group(hints[p.name]) for p in parameters}
    options = [option for p in parameters for option in _options(p, hints[p.name], *groups[p.name])]

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        for name, (kind, _) in groups.items():
            if kind:
                typed[name] = kind(**{field.name: typed.pop(field.name) for field in fields(kind)})
        command(**typed)

    ordered = sorted(options, key=lambda option: option.default is not inspect.Parameter.empty)
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _group(hint: Any) -> tuple[Any, str | None]:
    """The dataclass that a parameter is typed as, if any, and its title."""
    kind, title = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    return (kind, title) if is_dataclass(kind) else (None, None)


def _options(parameter: inspect.Parameter, hint: Any, kind: Any, title: str | None) -> list[inspect.Parameter]:
    if kind is None:
        return [parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY)]
    types = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_option(field, types[field.name], title),
        )
        for field in fields(kind)
    ]


def _option(field: Field[Any], annotated: Any, title: str | None) -> Any:
    kind, help_text = get_args(annotated)
    flag = [f"--{field.name.replace('_', '-')}"] if field.default is False else []  # without a --no-flag
    return Annotated[kind, typer.Option(*flag, help=help_text, rich_help_panel=title)]
