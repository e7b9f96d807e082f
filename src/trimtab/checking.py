"""Check the types of what users pass, so that a wrong type is our error and names the argument."""

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trimtab.errors import InvalidSetting, WrongType

SHOWN = 60  # characters of a value in a message
LISTS = {str: "a list of texts", int: "a list of whole numbers", float: "a list of numbers"}
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", type(None): "None"}
PACKAGE = __name__.partition(".")[0]
ARRAY_LIBRARIES = ("numpy", "torch")

Target = TypeVar("Target", bound=Callable[..., Any])


class Misfit(Exception):
    """A value that Python takes for the type, and a reader does not. Never leaves this module."""


def checked(target: Target) -> Target:
    """Make a function, or the constructor of a class, refuse arguments of another type than its hints say.

    Numbers of numpy, and arrays and tensors without axes, become plain numbers. The values of
    `**options: Unpack[Options]` are checked too.

    Args:
        target: a function, a method, or a class.

    Raises:
        WrongType: when it is called: an argument of another type, a missing one, or one too many.
        InvalidSetting: when it is called: a keyword that is no option.
    """
    return _checked(target, ())


def checked_except(*skip: str) -> Callable[[Target], Target]:
    """As `checked`, but these arguments are left to the function, which checks them itself."""
    return lambda target: _checked(target, skip)


def _checked(target: Target, skip: Collection[str]) -> Target:
    if isinstance(target, type):
        target.__init__ = _checked(target.__init__, skip)  # type: ignore[misc]
        return target
    signature = inspect.signature(target)

    @functools.wraps(target)
    def call(*given: Any, **named: Any) -> Any:
        bound = _bind(signature, target.__name__, given, named)
        hints = _hints(target)
        for name, value in bound.arguments.items():
            if name in hints and name not in skip:
                bound.arguments[name] = _argument(signature.parameters[name], value, hints[name])
        return target(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def check_type(name: str, value: Any, hint: Any) -> Any:
    """Return a value of the type that a hint names; a number of an array library as a plain number.

    Raises:
        WrongType: the value has another type.
    """
    typeguard, plain = _typeguard(), _plain(value)
    try:
        every = typeguard.CollectionCheckStrategy.ALL_ITEMS
        typeguard.check_type(plain, hint, collection_check_strategy=every)
        _check_numbers(plain, hint)
        _check_list(plain, hint)
    except (typeguard.TypeCheckError, Misfit, OverflowError) as error:
        raise WrongType(f"got {name}={shown(value)}, expected {describe(hint)}") from error
    return plain


def _check_numbers(value: Any, hint: Any) -> None:
    """Refuse True and False where a number is expected, and whole numbers that no float can hold, also inside lists.

    Raises:
        Misfit, OverflowError: one of these.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    _check_number(value, kinds)
    parts = [_parts(value, kind) for kind in kinds]
    if any(parts):
        _check_any([part for part in parts if part])


def _check_any(readings: Sequence[list[tuple[Any, Any]]]) -> None:
    """Check the parts of a value, which several types may allow; one of these must fit."""
    faults = []
    for parts in readings:
        try:
            for each, kind in parts:
                _check_numbers(each, kind)
            return
        except (Misfit, OverflowError) as fault:
            faults.append(fault)
    raise faults[0]


def _parts(value: Any, kind: Any) -> list[tuple[Any, Any]]:
    """The values inside a list, a tuple or a mapping, each with its type; none if the value or the type is another."""
    origin, inner = get_origin(kind), get_args(kind)
    if not isinstance(origin, type) or not issubclass(type(value), origin) or not _holds_numbers(kind):
        return []
    if issubclass(origin, Mapping):
        return [(each, inner[1]) for each in value.values()]
    if origin is tuple and Ellipsis not in inner:
        return list(zip(value, inner, strict=False))
    return [(each, inner[0]) for each in value] if issubclass(origin, Sequence) else []


@functools.cache
def _holds_numbers(hint: Any) -> bool:
    """Whether a type is a number, or has one inside; long lists of texts are left out."""
    return hint in (int, float) or any(_holds_numbers(each) for each in get_args(hint) if not isinstance(each, list))


def _check_number(value: Any, kinds: Sequence[Any]) -> None:
    if isinstance(value, bool) and bool not in kinds and (int in kinds or float in kinds):
        raise Misfit("True and False are no numbers")
    if isinstance(value, int) and float in kinds and int not in kinds:
        float(value)


def describe(hint: Any) -> str:
    """Return a type hint in words, as messages show it."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in WORDS:
        return WORDS[hint]
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(each) for each in inner))
    if origin is not None and inner and hasattr(hint, "__metadata__"):
        return describe(inner[0])
    if origin is tuple and Ellipsis not in inner:
        return f"({', '.join(describe(each) for each in inner)})"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping from {describe(inner[0])} to {describe(inner[1])}"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return LISTS.get(inner[0]) or f"a list, each {describe(inner[0])}"
    if origin is Callable:
        return "a function"
    return getattr(hint, "__name__", str(hint))


def _check_list(value: Any, hint: Any) -> None:
    """Refuse a text where a list of texts is expected: Python takes it for a list of its characters.

    Raises:
        Misfit: it is one.
    """
    hints = [hint, *get_args(hint)] if get_origin(hint) in (Union, types.UnionType) else [hint]
    if isinstance(value, str | bytes) and str not in hints and any(get_origin(each) is Sequence for each in hints):
        raise Misfit("a text is no list")


def answers(value: object, protocol: Any) -> bool:
    """Whether a value has all that a protocol asks for.

    Since Python 3.12, `isinstance` overlooks what a wrapper answers by `__getattr__`; protocols list their attributes
    from then on.
    """
    names = getattr(protocol, "__protocol_attrs__", None)
    return isinstance(value, protocol) or (names is not None and all(hasattr(value, name) for name in names))


@functools.cache
def _typeguard() -> Any:
    """The type checker, imported on demand. Our protocols are checked by `answers`, which sees through wrappers."""
    import typeguard

    def by_instance(value: Any, protocol: Any, args: tuple[Any, ...], memo: Any) -> None:
        if not answers(value, protocol):
            raise typeguard.TypeCheckError(f"is no {protocol.__name__}")

    def lookup(origin: Any, args: tuple[Any, ...], extras: tuple[Any, ...]) -> Any:
        ours = getattr(origin, "__module__", "").startswith("trimtab.") and getattr(origin, "_is_protocol", False)
        return by_instance if ours else None

    typeguard.checker_lookup_functions.insert(0, lookup)
    return typeguard


def _bind(
    signature: inspect.Signature, name: str, given: Sequence[Any], named: Mapping[str, Any]
) -> inspect.BoundArguments:
    try:
        return signature.bind(*given, **named)
    except TypeError as error:
        expected = ", ".join(each for each in signature.parameters if each != "self")
        what = "the arguments" if name == "__init__" else f"the arguments of {name}"
        raise WrongType(f"{error}; {what} are: {expected}") from error


@functools.cache
def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(target, include_extras=False)


def _argument(parameter: inspect.Parameter, value: Any, hint: Any) -> Any:
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
        return check_type(parameter.name, value, hint)
    options = get_type_hints(get_args(hint)[0])
    if unknown := sorted(set(value) - set(options)):
        raise InvalidSetting(f"got {unknown[0]}={shown(value[unknown[0]])}, expected one of: {', '.join(options)}")
    return {name: check_type(name, each, options[name]) for name, each in value.items()}


def _plain(value: Any) -> Any:
    """A number of numpy or torch as a number of Python; anything else as it is."""
    is_array = type(value).__module__.partition(".")[0] in ARRAY_LIBRARIES
    return value.item() if is_array and getattr(value, "ndim", 1) == 0 else value


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line outside the package that called it."""
    frame, level = inspect.currentframe(), 1
    while frame and str(frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level if frame else 1)


def shown(value: object) -> str:
    """Return a value as messages show it: its `repr`, cut."""
    try:
        text = repr(value)
    except Exception:  # a value of any class may fail to describe itself
        text = f"<{type(value).__name__}>"
    line = " ".join(text[: 4 * SHOWN].split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"
