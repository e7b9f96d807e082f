"""The house rules: imports go down, the public names are documented and typed, and starting is cheap."""

import ast
import inspect
import re
import subprocess
import sys
import time
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import trimtab

SOURCE = Path(trimtab.__file__).parent
ORDER = [
    "__main__",
    "cli",
    "server",
    "harness",
    "jobs",
    "testing",
    "benchmark",
    "evaluation",
    "trimtab",
    "loading",
    "language_model",
    "rewind",
    "prefix_search",
    "segment_search",
    "repairs",
    "best_of",
    "best_of_settings",
    "generation",
    "training",
    "judges",
    "engines",
    "drafts",
    "rewards",
    "steering",
    "models",
    "cluster",
    "data",
    "lazy",
    "checking",
    "versions",
    "errors",
]
LAZY_PACKAGES = [
    "trimtab",
    "trimtab.engines",
    "trimtab.judges",
    "trimtab.rewards",
    "trimtab.rewind",
    "trimtab.steering",
    "trimtab.training",
]
PACKAGES = [*LAZY_PACKAGES, "trimtab.testing"]
PUBLIC = [(package, name) for package in PACKAGES for name in import_module(package).__all__]
MODULE_NAME = re.compile(r"trimtab(\.\w+)+(:\w+)?")


def room_of(module: str) -> str:
    """Return the room of a module: the first name behind "trimtab", or "trimtab" for the public face."""
    return [*module.split(":")[0].split("."), "trimtab"][1]


def modules_of(tree: ast.AST) -> set[str]:
    """Return the modules that a file imports anywhere, lazily named modules included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "expected absolute imports"
            within = [f"trimtab.{alias.name}" for alias in node.names if (SOURCE / alias.name).is_dir()]
            found |= set(within) if node.module == "trimtab" and within else {str(node.module)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_NAME.fullmatch(node.value):
            found.add(node.value)
    return {module for module in found if module.split(".")[0] == "trimtab"}


def files() -> dict[Path, str]:
    """Return the room of each source file."""
    paths = {path: path.relative_to(SOURCE.parent).with_suffix("").parts for path in SOURCE.rglob("*.py")}
    return {path: room_of(".".join(part for part in parts if part != "__init__")) for path, parts in paths.items()}


def test_every_room_has_a_place_in_the_order():
    assert set(files().values()) <= set(ORDER)


@pytest.mark.parametrize("room", sorted(set(files().values())))
def test_a_room_imports_only_rooms_below_it(room):
    upward = []
    for path in (path for path, other in files().items() if other == room):
        rooms = {room_of(module) for module in modules_of(ast.parse(path.read_text(encoding="utf-8")))}
        if path != SOURCE / "__init__.py":  # the face names what it exports
            upward += [(path.name, other) for other in rooms - {room} if ORDER.index(other) < ORDER.index(room)]
    assert upward == []


def test_the_import_test_sees_imports_in_functions_and_lazy_names():
    code = "def late():\n    from trimtab.cli import app\nHOMES = {'x': 'trimtab.jobs'}\nimport trimtab.data.files, os"
    assert {room_of(module) for module in modules_of(ast.parse(code))} == {"cli", "jobs", "data"}


def test_json_is_written_and_read_in_one_place():
    """So that no output holds NaN, and no input ends in a foreign error. A sandbox imports nothing of ours."""
    users = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"^\s*(import json|from json)\b", path.read_text(encoding="utf-8"), flags=re.M)
    }
    assert users == {"data/json_text.py", "judges/sandboxed_program.py"}


def test_consoles_are_made_in_one_place():
    """So that none changes what it prints: no emoji for :key:, no highlighting."""
    users = [path.name for path in SOURCE.rglob("*.py") if re.search(r"\bConsole\(", path.read_text(encoding="utf-8"))]
    assert users == ["console.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_sorted(package):
    """Constants first, then classes, then functions, as ruff sorts them."""
    names = import_module(package).__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_an_exported_name_can_be_imported(package, name):
    value = getattr(import_module(package), name)
    assert not inspect.isclass(value) or value.__name__ == name
    assert not inspect.isfunction(value) or value.__name__ == name


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_lazy_exports_equal_the_imports_that_type_checkers_see(package):
    module = import_module(package)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    homes = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert sorted(homes) == sorted(module.__all__)
    for name, home in homes.items():
        assert getattr(module, name) is getattr(import_module(home), name)
    assert {name for name in dir(module) if not name.startswith("_")} == set(module.__all__)


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_an_unknown_name_of_a_lazy_package_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nonsense"):
        _ = import_module(package).nonsense


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_an_exported_name_has_a_docstring(package, name):
    value = getattr(import_module(package), name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__
        assert not value.__doc__.startswith(f"{name}("), "a dataclass without a docstring"


def signatures_of(value: object) -> dict[str, Any]:
    """Return the public functions of an exported name, each overload included."""
    if inspect.isfunction(value):
        return {value.__name__: value}
    if not inspect.isclass(value):
        return {}
    found = {}
    for name, member in vars(value).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function) and (not name.startswith("_") or name in ("__init__", "__call__", "__add__")):
            overloads = typing.get_overloads(inspect.unwrap(function))
            found |= {f"{name}#{number}": each for number, each in enumerate([*overloads, function])}
    return found


def has_any(hint: object) -> bool:
    """Whether a type is Any, or has Any among its arguments."""
    if hint is Any:
        return True
    if typing.is_typeddict(hint):
        return any(map(has_any, typing.get_type_hints(hint).values()))
    arguments = hint if isinstance(hint, list) else typing.get_args(hint)
    return any(has_any(argument) for argument in arguments if not isinstance(argument, str))


def names_for_type_checkers() -> dict[str, Any]:
    """Return the exported names; some modules import them for type checkers only."""
    names = {name: getattr(import_module(package), name) for package, name in PUBLIC}
    for home in ("trimtab.models.frozen_lm", "trimtab.models.kv_cache", "trimtab.steering.steer"):
        names |= {name: value for name, value in vars(import_module(home)).items() if inspect.isclass(value)}
    return names


@pytest.mark.parametrize(("package", "name"), [each for each in PUBLIC if each[0] in LAZY_PACKAGES])
def test_a_public_signature_has_no_any(package, name):
    local_names = names_for_type_checkers()
    vague = []
    for label, function in signatures_of(getattr(import_module(package), name)).items():
        hints = typing.get_type_hints(function, localns=local_names)
        vague += [(label, argument) for argument, hint in hints.items() if has_any(hint)]
    assert vague == []


def test_any_is_found_inside_other_types():
    class Options(typing.TypedDict):
        value: Any

    for hint in (Any, list[Any], dict[str, tuple[int, Any]], typing.Unpack[Options], Any | None):
        assert has_any(hint)
    assert not has_any(typing.Callable[[str, str], float] | typing.Literal["Any"] | None)


@pytest.mark.parametrize(
    "code", ["import trimtab", "from trimtab.cli import app", f"import {', '.join(LAZY_PACKAGES)}"]
)
def test_starting_imports_neither_torch_nor_transformers(code):
    start = time.perf_counter()
    check = f"import sys; {code}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
    assert time.perf_counter() - start < 5  # a ceiling for a busy machine; the modules are what is tested
