"""The versions of the packages that decide what a model writes."""

from functools import cache
from importlib.metadata import version

PACKAGES = ("trimtab", "torch", "transformers")


def versions() -> dict[str, str]:
    """Return the versions of trimtab, torch and transformers, for records of a run. Imports none of them."""
    return {package: _version(package) for package in PACKAGES}


@cache
def _version(package: str) -> str:
    return version(package)
