"""A finished comparison on a tiny model, and a copy of it for tests that change it."""

import shutil

import pytest

from tiny_sweep import tiny_sweep


@pytest.fixture(scope="session")
def whole(lm, tmp_path_factory):
    """The folder of a finished comparison; tests only read it."""
    folder = tmp_path_factory.mktemp("whole")
    assert tiny_sweep(lm, folder).run(lm) == []
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of the finished comparison."""
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"
