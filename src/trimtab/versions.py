"""The versions of the packages that decide what a model writes."""

from importlib.metadata import version

PACKAGES = ("trimtab", "torch", "transformers")


def versions() -> dict[str, str]:
    """Return the versions of trimtab, torch and transformers, for records of a run. Imports none of them."""
    return {package: version(package) for package in PACKAGES}
