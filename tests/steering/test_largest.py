"""The largest logits, against torch's own search."""

import pytest
import torch

from trimtab.steering.largest import BLOCK, FEW, largest


@pytest.mark.parametrize("size", [BLOCK * FEW * 20, BLOCK * FEW * 20 + 37, BLOCK * FEW * 20 - 1, 50, 49152])
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_those_that_torch_finds(size, count, dtype):
    torch.manual_seed(size + count)
    logits = torch.stack([torch.randperm(size) for _ in range(3)]).float().sub(size / 2).to(dtype)
    found, places = largest(logits, count)
    assert torch.equal(found, logits.topk(count).values)
    assert torch.equal(found, logits.gather(1, places))
    assert all(len(set(row)) == count for row in places.tolist())


def test_the_last_block_may_have_all_of_them():
    logits = torch.arange(BLOCK * FEW * 20 + 30.0)[None]
    assert largest(logits, 20)[1].tolist() == [list(range(logits.shape[1] - 1, logits.shape[1] - 21, -1))]


def test_excluded_tokens_are_last_and_nan_is_first():
    logits = torch.full((2, BLOCK * FEW * 5), -torch.inf)
    logits[0, [3, 900]] = torch.tensor([1.0, 2.0])
    logits[1, 700] = torch.nan
    found, places = largest(logits, 5)
    assert places[0, :2].tolist() == [900, 3]
    assert found[0, 2:].isneginf().all()
    assert places[1, 0] == 700
    assert int(places.max()) < logits.shape[1]
    assert all(len(set(row)) == 5 for row in places.tolist())
