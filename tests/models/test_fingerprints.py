import pytest
import torch

from trimtab.models.fingerprints import SAMPLE, exact_fingerprint, fingerprint_of, sample_fingerprint

KINDS = [fingerprint_of, sample_fingerprint, exact_fingerprint]
TENSORS = {"head.up": torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16), "head.down": torch.tensor([[0.25], [3.0]])}


def test_a_fingerprint_depends_on_names_and_numbers_and_not_on_the_dtype():
    same = {name: weight.float() for name, weight in TENSORS.items()}
    assert fingerprint_of(same) == fingerprint_of(TENSORS)
    assert fingerprint_of({**TENSORS, "head.up": TENSORS["head.up"] + 1}) != fingerprint_of(TENSORS)
    assert fingerprint_of({"up": TENSORS["head.up"]}) != fingerprint_of({"down": TENSORS["head.up"]})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_numbers_of_any_shape_and_depends_on_names_and_numbers(kind):
    tensors = {"scale": torch.tensor(2.0), "empty": torch.zeros(0, 3), "across": torch.arange(6.0).reshape(2, 3).T}
    copies = {name: weight.clone() for name, weight in tensors.items()}
    assert kind(tensors) == kind(copies)
    assert kind({**tensors, "scale": torch.tensor(3.0)}) != kind(tensors)
    assert kind({"other": tensors["scale"]}) != kind({"scale": tensors["scale"]})


def test_a_sample_is_the_same_in_float32_and_bfloat16():
    weight = torch.randn(300, 70, generator=torch.Generator().manual_seed(0))
    assert sample_fingerprint({"up": weight}) == sample_fingerprint({"up": weight.bfloat16()})


@pytest.mark.parametrize("shape", [(1024, 1024), (64, 2 * SAMPLE), (3, 5), (SAMPLE * 7,)])
def test_a_sample_lies_in_all_rows_and_columns(shape):
    """A change of an eighth of the rows, or of the columns, is found in matrices of any width."""
    weight = torch.ones(shape)
    columns, rows = weight.clone(), weight.clone()
    columns[..., : max(1, shape[-1] // 8)] = 2
    rows[: max(1, shape[0] // 8)] = 2
    for changed in (columns, rows):
        assert sample_fingerprint({"up": changed}) != sample_fingerprint({"up": weight})


def test_the_exact_hash_sees_one_bit_and_the_dtype():
    weight = torch.ones(1000, 10)
    changed = weight.clone()
    changed[7, 3] += 1e-6
    found = {exact_fingerprint({"up": each}) for each in (weight, changed, weight.bfloat16())}
    assert len(found) == 3
