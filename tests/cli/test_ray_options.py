"""`trimtab generate --ray`: what cannot run is refused before Ray or any weights load, whether Ray is here or not."""

import socket

import pytest

from trimtab.cluster import ray_cluster

OPTIONS = ["--seed", 1, "--max-new-tokens", 4]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"prompt": "w1"}\n', encoding="utf-8")
    return folder


@pytest.fixture
def installed(monkeypatch):
    """Ray is found, and must not be used."""
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: object())
    monkeypatch.setattr(ray_cluster, "_connect", lambda address: pytest.fail("refused too late"))


@pytest.fixture
def refused(trimtab, place):
    """Return a function that runs a command which fails; it returns the message."""

    def run(*words):
        done = trimtab("generate", "--model", place / "lm", *OPTIONS, *words, check=False)
        assert done.status == 1
        return done.stderr

    return run


def test_a_missing_package_is_named(refused, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    message = refused("--ray", "local", "--input", folder, "--output", tmp_path / "out")
    assert "pip install 'trimtab[ray]'" in message


@pytest.mark.parametrize("address", ["there", "there:", "ray://there:10001", ":6379", "127.0.0.1:99999", "no host:1"])
def test_an_address_that_cannot_be_reached_is_refused(refused, installed, folder, tmp_path, address):
    message = refused("--ray", address, "--input", folder, "--output", tmp_path / "out")
    assert f"got --ray '{address}', expected" in message


def test_an_address_where_nothing_answers_is_refused_at_once(refused, installed, folder, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = refused("--ray", f"127.0.0.1:{port}", "--input", folder, "--output", tmp_path / "out")
    assert "nothing answers there" in message


def test_options_that_do_not_go_together_are_refused(refused, installed, folder, tmp_path):
    files = ["--input", folder, "--output", tmp_path / "out"]
    assert "expected --ray with them" in refused("w1", "--actors", 2)
    assert "quote a pattern of files" in refused("w1", "--ray", "local", *files)
    assert "expected with it --input" in refused("--ray", "local")
    assert "got --actors 0, expected at least 1" in refused("--ray", "local", *files, "--actors", 0)
    assert "got --actor-cpus 0" in refused("--ray", "local", *files, "--actor-cpus", 0)
    assert "got --actor-gpus 1.5" in refused("--ray", "local", *files, "--actor-gpus", 1.5)
    assert "got --batch-size 0" in refused("--ray", "local", *files, "--batch-size", 0)


def test_a_folder_without_shards_is_refused(refused, installed, folder, tmp_path):
    (folder / "a.jsonl").unlink()
    assert "there are none" in refused("--ray", "local", "--input", folder, "--output", tmp_path / "out")


def test_shards_without_prompts_and_files_of_others_are_refused(refused, installed, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jsonl").write_text("mine\n", encoding="utf-8")
    words = ["--ray", "local", "--input", folder, "--output", tmp_path / "out"]
    assert "add --force" in refused(*words)
    (folder / "a.jsonl").write_text("broken\n", encoding="utf-8")
    assert "no usable prompt; first fault: a.jsonl: line 1" in refused(*words, "--force")
    assert (tmp_path / "out" / "a.jsonl").read_text(encoding="utf-8") == "mine\n"
