"""The file of times: what is saved, and beside which rows it is shown."""

import pytest

from tiny_sweep import LENGTH
from trimtab.errors import InvalidData
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.run.row_file import read_settings
from trimtab.evaluation.run.times_file import read_times, save_times, time_settings, times_of_rows

TIME = {"ratio": 2.0, "reward_share": 0.5, "tokens_per_second": 9.0, "runs": 1}
SEARCH = {"prompts": "some", "method": "rewound by q", "beta": None, "samples": 3, "search": {"children": 3}}
STEERED = SEARCH | {"beta": 5.0}


def test_saved_times_are_part_of_the_report(lm, copied):
    save_times(copied, {"v": TIME}, lm, {"rounds": 2})
    save_times(copied, {"top-k": TIME}, lm, {"rounds": 2})
    assert {row.row.settings["method"] for row in measure(copied, [LENGTH]).rows if row.time} == {"v", "top-k"}
    assert read_times(copied)["v"]["about"]["device"] == "cpu"
    assert read_times(copied)["v"]["about"]["rounds"] == 2


def test_a_time_is_shown_beside_rows_of_its_settings_alone(lm, copied):
    settings = next(each for each in read_settings(copied).values() if each["method"] == "v")
    for changed, shown in (({"beta": 9.0, "prompts": "others"}, True), ({"dtype": "float16"}, False)):
        save_times(copied, {"v": TIME | {"settings": time_settings(settings | changed)}}, lm, {})
        times = [row.time for row in measure(copied, [LENGTH]).rows if row.time]
        assert bool(times) == shown
        assert all("settings" not in time for time in times)


def test_a_row_of_an_older_version_keeps_its_time(lm, tmp_path):
    """It lacks the hashes that a run of this version compares with."""
    row = {"prompts": "some", "method": "v", "beta": 2.0, "samples": 3}
    time = TIME | {"settings": time_settings(row | {"chat": False, "weights_fingerprint": "abc"})}
    save_times(tmp_path, {"v": time}, lm, {})
    assert times_of_rows(tmp_path, [row])[0]["ratio"] == 2.0


def test_a_search_and_a_steered_search_have_a_time_each(lm, tmp_path):
    save_times(tmp_path, {"rewound by q": TIME, "rewound by q, steered": TIME | {"ratio": 3.0}}, lm, {})
    of_older = times_of_rows(tmp_path, [SEARCH, STEERED])
    assert [time.get("ratio") for time in of_older] == [None, 3.0]  # an older time belongs to either
    assert times_of_rows(tmp_path, [SEARCH])[0]["ratio"] == 2.0
    save_times(tmp_path, {"rewound by q": TIME | {"settings": time_settings(SEARCH)}}, lm, {})
    assert [time["ratio"] for time in times_of_rows(tmp_path, [SEARCH, STEERED])] == [2.0, 3.0]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"q": 3}',
        '{"q": {"ratio": "fast"}}',
        '{"q": {"ratio": 1.0}}',
        '{"q": {"ratio": 1.0, "tokens_per_second": 1.0, "reward_share": "all"}}',
        '{"q": {"ratio": 1.0, "tokens_per_second": 1.0, "settings": 3}}',
    ],
)
def test_damaged_times_are_named(tmp_path, content):
    (tmp_path / "times.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=r"times\.json"):
        read_times(tmp_path)
