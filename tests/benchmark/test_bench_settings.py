"""Settings of a benchmark, and the tables that they ask for."""

import pytest

from trimtab.benchmark.bench_settings import BenchSettings
from trimtab.benchmark.rows import KEYS
from trimtab.errors import InvalidSetting


def test_by_default_one_thing_changes_at_a_time():
    tables = [tuple(table) for table in BenchSettings().tables()]
    expected = [(batch, 20, 20) for batch in (1, 8, 32)]
    expected += [(batch, 512, 20) for batch in (1, 8, 32)] + [(batch, 20, 80) for batch in (1, 8, 32)]
    assert tables == expected


def test_quick_measures_less():
    quick, whole = BenchSettings(quick=True), BenchSettings()
    assert [tuple(table) for table in quick.tables()] == [(1, 20, 20), (8, 20, 20)]
    assert {row.key for row in quick.table_rows} < {row.key for row in whole.table_rows} == set(KEYS)
    assert quick.resolved().tokens < whole.resolved().tokens
    assert (quick.resolved().memory, whole.resolved().memory) == (False, True)


def test_what_is_given_wins_over_quick():
    given = BenchSettings(quick=True, batch=[2], prompt_tokens=[5, 6, 6], top_k=[3], rows=["rad"], memory=True)
    assert [tuple(table) for table in given.tables()] == [(2, 5, 3), (2, 6, 3)]
    assert [row.key for row in given.table_rows] == ["plain", "rad"]
    assert given.resolved().memory


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": [0]},
        {"batch": [8, 10**9]},
        {"prompt_tokens": [0]},
        {"top_k": [-1]},
        {"tokens": 3},
        {"repeats": 0},
        {"layers": 0},
        {"seed": -1},
        {"seed": 2**32},
        {"rows": ["nobody"]},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidSetting, match=r"nobody|" + next(iter(wrong))):
        BenchSettings(**wrong)
