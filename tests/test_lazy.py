import sys
from types import ModuleType

import pytest

from trimtab.lazy import lazy_exports


def test_a_name_is_imported_when_it_is_first_used(monkeypatch):
    home = ModuleType("a_home")
    home.answer = 42
    get, names = lazy_exports("a_package", {"later": "a_home_that_is_missing", "answer": "a_home"})
    monkeypatch.setitem(sys.modules, "a_home", home)
    assert get("answer") == 42
    assert names() == ["answer", "later"]
    with pytest.raises(ModuleNotFoundError, match="a_home_that_is_missing"):
        get("later")


def test_an_unknown_name_is_an_attribute_error_that_names_the_package():
    get, _ = lazy_exports("a_package", {})
    with pytest.raises(AttributeError, match="'a_package' has no attribute 'nonsense'"):
        get("nonsense")
