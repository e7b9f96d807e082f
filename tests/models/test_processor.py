"""The processor of this machine."""

import platform

import pytest

from trimtab.models import processor
from trimtab.models.processor import is_amd, processor_name


@pytest.fixture
def described(monkeypatch, tmp_path):
    """Let Linux describe another processor; "" for no Linux."""

    def describe(text):
        (tmp_path / "cpuinfo").write_text(text)
        path = tmp_path / ("cpuinfo" if text else "none")
        monkeypatch.setattr(processor, "open", lambda name, **options: path.open(**options), raising=False)
        for found in (is_amd, processor_name):
            found.cache_clear()

    yield describe
    for found in (is_amd, processor_name):
        found.cache_clear()


@pytest.mark.parametrize(("vendor", "amd"), [("AuthenticAMD", True), ("GenuineIntel", False)])
def test_linux_names_the_processor_and_who_made_it(described, vendor, amd):
    described(f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: Some 9: CPU\nprocessor\t: 1\nmodel name\t: x\n")
    assert (processor_name(), is_amd()) == ("Some 9: CPU", amd)


@pytest.mark.parametrize(("name", "amd"), [("AMD64 Family 25, AuthenticAMD", True), ("arm", False), ("", False)])
def test_elsewhere_python_names_it(described, monkeypatch, name, amd):
    described("")
    monkeypatch.setattr(platform, "processor", lambda: name)
    monkeypatch.setattr(platform, "machine", lambda: "a machine")
    assert (processor_name(), is_amd()) == (name or "a machine", amd)
