"""The plot of spectra, and its record."""

import json

import numpy as np
import pytest

from trimtab.errors import InvalidData
from trimtab.evaluation.report.spectra import plot_spectra, read_spectrum
from trimtab.rewards.spectrum import spectra

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def record():
    matrix = np.random.default_rng(0).normal(size=(8, 30))
    found = {"a": spectra(matrix, [4, 8]), "b": spectra(matrix + 1, [4, 8])}
    return {
        "data": "texts.jsonl",
        "tokens": 30,
        "ranks": {
            name: [{"prefixes": s.prefixes, "numerical": s.numerical_rank, "effective": s.effective_rank} for s in of]
            for name, of in found.items()
        },
        "singular_values": {name: of[-1].values.tolist() for name, of in found.items()},
    }


def test_the_plot_is_written_in_each_format_with_a_caption(record, tmp_path):
    picture = plot_spectra(record, tmp_path, ("png", "svg", "pdf"), "My title")
    assert [file.name for file in picture.files] == ["spectrum.png", "spectrum.svg", "spectrum.pdf"]
    assert all(file.read_bytes().startswith(STARTS[file.suffix]) for file in picture.files)
    assert picture.title == "My title"
    assert "8 prefixes × 30 tokens, prefixes of texts.jsonl" in picture.caption


def test_a_reward_of_zeros_is_drawn(record, tmp_path):
    record["singular_values"]["a"] = [0.0] * 8
    assert plot_spectra(record, tmp_path).files


def test_a_record_is_read_and_another_file_is_refused(record, tmp_path):
    assert read_spectrum(tmp_path) == {}
    (tmp_path / "spectrum.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_spectrum(tmp_path) == record
    (tmp_path / "spectrum.json").write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(InvalidData, match="not a record of spectra"):
        read_spectrum(tmp_path)
