"""Failed writes of weights, as errors that name the folder."""

import errno
import shutil
from types import SimpleNamespace

import pytest

from trimtab.errors import InvalidOutput
from trimtab.training.saving import saving

TORCH = "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"


@pytest.mark.parametrize(("free", "reason"), [(0, "the disk is full"), (2**30, "could not be written to its end")])
def test_torch_does_not_say_why_it_cannot_write_and_we_do(tmp_path, monkeypatch, free, reason):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(InvalidOutput, match=reason) as caught, saving(tmp_path / "new", "the checkpoint"):
        raise RuntimeError(TORCH)
    assert "inline_container" not in str(caught.value)


def test_a_full_disk_is_called_so(tmp_path):
    with pytest.raises(InvalidOutput, match="the disk is full"), saving(tmp_path, "the settings"):
        raise OSError(errno.ENOSPC, "No space left on device", "/a/b")


def test_other_errors_of_torch_pass(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), saving(tmp_path, "the checkpoint"):
        raise RuntimeError("shapes do not match")
