"""`trimtab bench` on a tiny model."""

import json

import pytest

from trimtab.cli import bench

TINY = ("bench", "--shapes", "tiny", "--device", "cpu", "--prompt-tokens", "5", "--top-k", "6", "--tokens", "4")
FEW = (*TINY, "--no-memory", "--repeats", "1", "--batch", "1", "--rows", "own", "--rows", "own-steers")


def test_the_tables_are_printed(trimtab):
    shown = trimtab(*FEW, "--batch", "2").stdout
    for words in ("Batch 1, prompts of 5 tokens, k = 6", "Batch 2", "plain loop", "own state", "own / plain"):
        assert words in shown
    assert "left out: own state, a steer per row: a batch of one has one steer" in shown
    assert "1 run of each row in turns" in shown
    assert "transformers' generate" not in shown


def test_a_narrow_terminal_shows_the_parts_below_the_times(trimtab, monkeypatch):
    wide = trimtab(*FEW).stdout
    monkeypatch.setenv("COLUMNS", "80")
    narrow = trimtab(*FEW).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    heads = [[line.split() for line in shown.splitlines() if "sampling" in line] for shown in (wide, narrow)]
    assert "over" in heads[0][0]
    assert "over" not in heads[1][0]


def test_the_record_and_the_tables_are_written(trimtab, tmp_path):
    out = tmp_path / "new" / "bench.json"
    done = trimtab(*FEW, "--out", out)
    assert f"wrote {out} and bench.md" in " ".join(done.stdout.split())
    record = json.loads(out.read_text())
    assert [row["row"] for row in record["tables"][0]["rows"]] == ["plain", "own"]
    assert record["about"]["model"] == "tiny"
    assert "# The time of a token: tiny" in out.with_suffix(".md").read_text()
    assert sorted(path.name for path in out.parent.iterdir()) == ["bench.json", "bench.md"]


def test_an_older_record_is_replaced_and_other_files_are_not(trimtab, tmp_path):
    out = tmp_path / "bench.json"
    trimtab(*FEW, "--out", out)
    trimtab(*FEW, "--out", out, "--seed", "3")
    assert json.loads(out.read_text())["about"]["seed"] == 3
    out.write_text('{"mine": 1}')
    refused = trimtab(*FEW, "--out", out, check=False)
    assert refused.status == 1
    assert "exists" in refused.stderr
    assert out.read_text() == '{"mine": 1}'
    trimtab(*FEW, "--out", out, "--force")
    assert json.loads(out.read_text())["made_by"] == "trimtab bench"


def test_notes_beside_the_record_are_not_replaced(trimtab, tmp_path):
    (tmp_path / "bench.md").write_text("mine")
    refused = trimtab(*FEW, "--out", tmp_path / "bench.json", check=False)
    assert refused.status == 1
    assert "bench.md" in refused.stderr


def test_a_name_that_is_no_json_file_is_refused(trimtab, tmp_path):
    refused = trimtab(*FEW, "--out", tmp_path / "bench.txt", check=False)
    assert "ends in .json" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--rows", "fast"), "got the row 'fast'"),
        (("--batch", "0"), "--batch 0, expected 1 to"),
        (("--tokens", "2"), "--tokens 2, expected 4 to"),
        (("--prompt-tokens", "2000"), "context"),
        (("--device", "nonsense"), "device"),
        (("--device", ""), "got an empty --device"),
        (("--shapes", "huge"), "huge"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(trimtab, words, named):
    done = trimtab(*FEW, *words, check=False)
    assert done.status == 1
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_ctrl_c_prints_what_was_measured_and_writes_nothing(trimtab, tmp_path, monkeypatch):
    from trimtab.benchmark import run

    runs = []
    plain = run.time_parts

    def interrupted(*given):
        runs.append(given)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return plain(*given)

    monkeypatch.setattr(run, "time_parts", interrupted)
    done = trimtab(*FEW, "--batch", "2", "--out", tmp_path / "bench.json", check=False)
    assert done.status == bench.INTERRUPTED
    assert "Batch 1" in done.stdout
    assert "Batch 2" not in done.stdout
    assert "Interrupted: the tables hold what was measured until then." in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "trimtab: interrupted"
    assert not list(tmp_path.iterdir())


def test_a_model_in_a_folder_is_measured(trimtab, place):
    shown = trimtab("bench", "--model", place / "lm", *TINY[3:], "--quick", "--repeats", "1", "--batch", "2").stdout
    assert "RAD, block mask" in shown
    assert "transformers' generate" in shown
