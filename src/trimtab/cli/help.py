"""How help is shown: no type beside a flag, which takes no value; options that all commands have; default commands."""

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from trimtab.cli.threads import threads_option
from trimtab.errors import InvalidSetting


def without_flag_type(parameter: Any) -> Any:
    """Hide the `<bool>` that typer prints beside a flag."""
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        parameter.metavar = ""
    return parameter


SEVERAL = frozenset(("--reward", "--judge", "--by", "--teacher"))  # what some commands take several of


def check_given_once(given: Sequence[Any]) -> None:
    """Refuse a reward or a judge that is given twice to a command that takes one.

    The last of two numbers holds, as in other programs, so that aliases can be overridden.

    Args:
        given: the parameters of a command line, as often as they occur.

    Raises:
        InvalidSetting: one is.
    """
    options = [each for each in given if isinstance(each, TyperOption)]
    single = [each for each in options if not each.multiple and SEVERAL.intersection(each.opts)]
    if twice := next((each for each in single if single.count(each) > 1), None):
        raise InvalidSetting(f"got {twice.opts[0]} {single.count(twice)} times, expected it once")


class Command(TyperCommand):
    """A command whose flags are shown without a type, and that has the option --threads."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` included."""
        *parameters, help_option = super().get_params(ctx)
        return [without_flag_type(parameter) for parameter in (*parameters, threads_option(), help_option)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse two rewards or judges where one is used: the last would hold in silence."""
        if not ctx.resilient_parsing:
            check_given_once(self.make_parser(ctx).parse_args(args=list(args))[2])
        return super().parse_args(ctx, args)


class CommandGroup(TyperGroup):
    """A group of commands whose flags are shown without a type."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` included."""
        return [without_flag_type(parameter) for parameter in super().get_params(ctx)]


class DefaultCommandGroup(TyperGroup):
    """A group that runs one of its commands where none is named: `trimtab bench` is `trimtab bench tokens`.

    Attributes:
        default: the name of that command.
    """

    default = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the default command before anything that is not a command."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else [self.default, *args])


def hide_flag_types(app: typer.Typer) -> None:
    """Make every command below this one show its flags without a type."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            hide_flag_types(group.typer_instance)
