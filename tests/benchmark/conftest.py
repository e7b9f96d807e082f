"""A tiny subject, with rewards on a smaller base, and one whose rewards are on the model itself."""

import pytest

from tiny import tiny_lm
from trimtab.benchmark.subject import Subject, SubjectSpec, endless, load_subject


@pytest.fixture(scope="session")
def shaped():
    """Return a subject of random weights with a smaller base for its rewards."""
    return load_subject(SubjectSpec("", "tiny", device="cpu"))


@pytest.fixture(scope="session")
def subject():
    """Return a subject whose rewards are made of its own layers."""
    lm = endless(tiny_lm("llama", seed=5))
    return Subject(lm, lm, 2)
