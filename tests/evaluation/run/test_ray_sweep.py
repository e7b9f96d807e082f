"""Sweeps whose texts come from a cluster, with a stand-in of the cluster: actors that work in this process."""

from functools import partial

import pytest

from tiny import save_lm, tiny_lm, tiny_reward
from tiny_sweep import SETS, contents
from trimtab.cluster.ray_actors import RayActors
from trimtab.cluster.ray_map import RayWorker, json_table, read_answers
from trimtab.errors import InvalidData, RewardNotFound
from trimtab.evaluation.run import ray_sweep
from trimtab.evaluation.run.load_plan import load_plan
from trimtab.evaluation.run.ray_sweep import SweepWriter, run_on_ray
from trimtab.evaluation.run.row_file import read_row
from trimtab.evaluation.run.search_settings import PAPER_SEARCH
from trimtab.evaluation.run.sweep import Sweep
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.loading import load


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a language model and two rewards."""
    folder = tmp_path_factory.mktemp("place")
    lm = tiny_lm("llama", seed=3)
    save_lm(lm, folder / "lm")
    for head in ("q", "v"):
        tiny_reward(lm, head, base=str(folder / "lm")).save_pretrained(folder / head)
    return folder


@pytest.fixture(scope="module")
def parts(place):
    """Task, grid, settings, search and prompt sets."""
    grid = Grid(reward=[str(place / "q"), str(place / "v")], beta=[2.0], best_of=[2])
    settings = SweepSettings(str(place / "lm"), samples=2, max_new_tokens=3, top_k=5, batch_size=2)
    return ("prompts", grid, settings, PAPER_SEARCH, SETS)


@pytest.fixture(scope="module")
def lm(place):
    return load(place / "lm")


@pytest.fixture
def sweep(parts, lm):
    """Return a function that makes the sweep in a folder."""
    task, grid, settings, search, sets = parts
    return partial(Sweep, task, load_plan(grid, settings, search, lm).rows(sets), settings)


@pytest.fixture
def actor(monkeypatch):
    """One actor, in this process, through which all work goes; the list of the work that it was given."""
    given = []

    def here(make, work, address, actors, in_order):
        assert in_order
        worker = RayWorker(make)
        for piece in work:
            given.append(piece)
            yield from read_answers(worker(json_table([piece])))

    monkeypatch.setattr(ray_sweep, "map_on_ray", here)
    return given


def run(sweep, parts, lm, progress=lambda row, done, total: None):
    return run_on_ray(sweep, partial(SweepWriter, *parts), lm, "local", RayActors(), progress)


def test_a_cluster_writes_the_files_of_one_process(sweep, parts, lm, actor, tmp_path):
    seen = []
    sweep(tmp_path / "here").run(lm)
    assert (
        run(sweep(tmp_path / "there"), parts, lm, lambda row, done, total: seen.append((row.name, done, total))) == []
    )
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert [each[1:] for each in seen if each[0] == "some--up--q=2"] == [(0, 3), (2, 3), (3, 3)]


def test_only_what_is_missing_is_written_again(sweep, parts, lm, actor, tmp_path):
    whole = sweep(tmp_path)
    run(whole, parts, lm)
    before, path = contents(tmp_path), tmp_path / "some--up--v=2.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:6]))  # the second batch is torn
    actor.clear()
    run(whole, parts, lm)
    assert contents(tmp_path) == before
    assert [(each["start"], each["stop"]) for each in actor] == [(2, 3)]
    actor.clear()
    run(whole, parts, lm)
    assert actor == []


def test_rows_that_another_process_holds_are_left(sweep, parts, lm, actor, tmp_path):
    whole = sweep(tmp_path)
    with whole.file(whole.rows[0], lm).claimed():
        assert run(whole, parts, lm) == [whole.rows[0]]
    assert len(contents(tmp_path)) == len(whole.rows) - 1


def test_a_row_says_which_machine_wrote_it(sweep, parts, lm, actor, tmp_path, monkeypatch):
    made_by = Sweep.made_by
    whole = sweep(tmp_path)
    monkeypatch.setattr(SweepWriter, "__call__", elsewhere(SweepWriter.__call__))
    run(whole, parts, lm)
    (entry,) = read_row(tmp_path / "some--up--q=2.jsonl").made_by
    assert entry["device"] == "cuda:0"
    assert made_by(whole, whole.rows[0], lm)["device"] == "cpu"


def elsewhere(call):
    """The same texts, from a machine with a GPU."""

    def answer(self, work):
        found = call(self, work)
        return {**found, "made_by": {**found["made_by"], "device": "cuda:0"}}

    return answer


def test_machines_with_other_weights_are_refused(sweep, parts, lm, actor, tmp_path, monkeypatch):
    about = Sweep.about
    whole = sweep(tmp_path)
    files = [whole.file(row, lm) for row in whole.rows]
    monkeypatch.setattr(Sweep, "about", lambda *given: {**about(*given), "weights_fingerprint": "others"})
    monkeypatch.setattr(Sweep, "file", lambda self, row, lm: files[self.rows.index(row)])
    with pytest.raises(InvalidData, match=r"two machines have different weights \(weights_fingerprint"):
        run(whole, parts, lm)


def test_an_actors_error_is_its_own(sweep, parts, lm, actor, tmp_path, place):
    task, grid, *rest = parts
    lost = Grid(reward=[str(place / "nowhere")], beta=grid.beta)
    with pytest.raises(RewardNotFound, match="nowhere"):
        run(sweep(tmp_path), (task, lost, *rest), lm)
