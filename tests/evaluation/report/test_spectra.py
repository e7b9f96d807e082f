"""The plot of spectra."""

import numpy as np

from trimtab.evaluation.report.spectra import plot_spectra
from trimtab.rewards.spectrum import spectra


def test_the_plot_of_spectra_is_a_picture(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(8, 30))
    plot_spectra({"a": spectra(matrix, [4, 8]), "b": spectra(matrix + 1, [4, 8])}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
