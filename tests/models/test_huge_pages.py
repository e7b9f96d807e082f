"""Memory in huge pages behaves like any other."""

import mmap

import pytest
import torch

from trimtab.models.huge_pages import empty_in_huge_pages

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_it_has_the_size_and_the_dtype_asked_for_and_can_be_written(dtype):
    memory = empty_in_huge_pages(1_000_003, dtype, CPU)
    assert (memory.shape, memory.dtype) == ((1_000_003,), dtype)
    memory.copy_(torch.arange(1_000_003) % 251)
    again = empty_in_huge_pages(1_000_003, dtype, CPU).zero_()
    assert memory[1_000_002] == 1_000_002 % 251, "two pieces share no memory"
    assert not again.any()


def test_a_system_without_huge_pages_gives_an_ordinary_tensor(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert empty_in_huge_pages(5, torch.float32, CPU).shape == (5,)


def test_a_kernel_that_refuses_changes_nothing_else(monkeypatch):
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 10_000, raising=False)  # no such advice
    assert empty_in_huge_pages(5, torch.float32, CPU).fill_(2).tolist() == [2.0] * 5
