"""The file with the agreement of judges and data sets: kept by data set, checked before work, refused if damaged."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from trimtab.errors import InvalidData, InvalidOutput
from trimtab.evaluation.agreement_file import AGREEMENT_FILE, check_agreement_folder, read_agreement, save_agreement

FIGURES = {"spearman": 0.5, "auc": 0.5, "accuracy": 0.5, "texts": 3, "failed": 0}


def test_saved_agreements_of_several_data_sets_stay(tmp_path):
    save_agreement(tmp_path / "new", "one", {"vader": FIGURES})
    save_agreement(tmp_path / "new", "one", {"profanity": {**FIGURES, "auc": 0.25}})
    save_agreement(tmp_path / "new", "two", {"vader": FIGURES})
    assert read_agreement(tmp_path / "new") == {
        "one": {"vader": FIGURES, "profanity": {**FIGURES, "auc": 0.25}},
        "two": {"vader": FIGURES},
    }


def test_no_figures_are_lost_between_two_writers(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: save_agreement(tmp_path, f"data{number}", {"vader": FIGURES}), range(24)))
    assert set(read_agreement(tmp_path)) == {f"data{number}" for number in range(24)}


def test_a_figure_that_is_not_finite_is_null(tmp_path):
    save_agreement(tmp_path, "one", {"vader": {**FIGURES, "auc": math.nan}})
    assert "NaN" not in (tmp_path / AGREEMENT_FILE).read_text(encoding="utf-8")
    assert read_agreement(tmp_path)["one"]["vader"]["auc"] is None


def test_a_file_of_an_earlier_version_with_nan_is_read(tmp_path):
    content = '{"one": {"vader": {"spearman": NaN, "auc": NaN, "accuracy": 0.5, "texts": 3, "failed": 0}}}'
    (tmp_path / AGREEMENT_FILE).write_text(content, encoding="utf-8")
    assert read_agreement(tmp_path)["one"]["vader"]["spearman"] is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"one": 3}', '{"one": {"vader": {"auc": "high"}}}', '{"one": {"vader": {"texts": 1}}}']
)
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / AGREEMENT_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=r"judges\.json"):
        check_agreement_folder(tmp_path, "--out")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidOutput, match="expected a folder"):
        check_agreement_folder(tmp_path / "file", "--out")
