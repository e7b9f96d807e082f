"""Rewards pushed to a Hub and pulled from it. The Hub is a fake on this machine."""

import shutil
import socket
import time

import pytest
import yaml

from fake_hub import TOKEN
from tiny import save_lm, tiny_ladder, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.data import hub
from trimtab.rewards import sharing
from trimtab.rewards.card import read_card
from trimtab.rewards.registry import load_reward
from trimtab.rewards.sharing import pull_reward, push_reward

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of httpx in huggingface_hub

FILES = {"config.json", "reward.safetensors", "README.md"}
QUALITY = {
    "measured on": "test.jsonl",
    "accuracy:kind": 0.9,
    "auc:kind": float("nan"),
    "texts": 80,
    "agreement_over_prefixes:kind": 0.87654,
}


@pytest.fixture(scope="module")
def saved(llama, tmp_path_factory):
    """The folder of a reward."""
    folder = tmp_path_factory.mktemp("saved") / "kind"
    quality = {name: value for name, value in QUALITY.items() if value == value}
    tiny_reward(llama, "q", quality=quality, provenance={"held_out": "dev.jsonl"}).save_pretrained(folder)
    return folder


@pytest.fixture
def logged_in(fake_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return fake_hub


def metadata(hub, name):
    return yaml.safe_load(hub.repositories[name].files["README.md"].decode().split("---")[1])


def test_what_is_pushed_is_pulled_bit_for_bit_and_steers_from_its_hub_id(logged_in, saved, llama, tmp_path):
    assert push_reward(saved, "me/kind") == f"{logged_in.address}/me/kind"
    assert set(logged_in.repositories["me/kind"].files) == FILES
    assert logged_in.repositories["me/kind"].commits == ["Upload a trimtab reward"]
    pulled = pull_reward("me/kind", tmp_path / "mine")
    assert {path.name for path in pulled.iterdir()} == FILES
    assert (pulled / "reward.safetensors").read_bytes() == (saved / "reward.safetensors").read_bytes()
    assert read_card(pulled) == read_card(saved)
    reward = load_reward("me/kind", llama)
    assert (reward.name, reward.source) == ("kind", "me/kind")
    expected = load_reward(saved, llama).score("w1 w2 w3")
    assert reward.score("w1 w2 w3").equal(expected)
    assert pull_reward("me/kind").is_relative_to(tmp_path / "hub-cache")


def test_the_model_card_says_licence_base_metrics_and_how_to_use_it(logged_in, saved):
    push_reward(saved, "me/kind", license="apache-2.0")
    found = metadata(logged_in, "me/kind")
    assert found["license"] == "apache-2.0"
    assert found["library_name"] == "trimtab"
    assert found["base_model"] == "tiny-llama"
    assert found["metrics"] == ["accuracy", "spearmanr"]
    assert {"trimtab", "reward-model", "arm"} <= set(found["tags"])
    (entry,) = found["model-index"]
    values = {m["name"]: (m["value"], of["dataset"]["name"]) for of in entry["results"] for m in of["metrics"]}
    assert values == {
        "accuracy:kind": (0.9, "test.jsonl"),
        "agreement_over_prefixes:kind": (0.8765, "dev.jsonl"),
    }
    text = logged_in.repositories["me/kind"].files["README.md"].decode()
    assert 'trimtab.reward("me/kind", lm)' in text
    assert text.count("# kind\n") == 1


def test_a_card_without_figures_or_licence_names_none(logged_in, llama, tmp_path):
    tiny_reward(llama, "v", base="lm (weights 0123)").save_pretrained(tmp_path / "plain")
    push_reward(tmp_path / "plain", "me/plain")
    assert metadata(logged_in, "me/plain").keys() == {"library_name", "tags"}


def test_the_bundled_base_is_named_by_its_hub_id(logged_in, llama, tmp_path):
    tiny_reward(llama, "q", base="smollm2").save_pretrained(tmp_path / "mood")
    push_reward(tmp_path / "mood", "me/mood")
    assert metadata(logged_in, "me/mood")["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_a_private_push_makes_a_private_repository(logged_in, saved, monkeypatch, llama):
    push_reward(saved, "me/secret", private=True)
    assert logged_in.repositories["me/secret"].private
    push_reward(saved, "me/secret", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(errors.RewardNotFound, match="it is private: then log in with `hf auth login`"):
        pull_reward("me/secret")


def test_a_newer_reward_is_one_commit_more(logged_in, saved, llama, tmp_path):
    push_reward(saved, "me/kind")
    tiny_ladder(llama).save_pretrained(tmp_path / "newer")
    push_reward(tmp_path / "newer", "me/kind")
    assert len(logged_in.repositories["me/kind"].commits) == 2
    assert read_card(pull_reward("me/kind", tmp_path / "mine")).trunk == "ladder"


def damaged(saved, folder, change):
    shutil.copytree(saved, folder)
    change(folder)
    return folder


def flip(folder):
    content = bytearray((folder / "reward.safetensors").read_bytes())
    content[-9] ^= 1
    (folder / "reward.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip, "expected .* as its card says"),
        (lambda folder: (folder / "config.json").unlink(), r"it has no config\.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llama"}'), "not a reward card"),
        (lambda folder: (folder / "reward.safetensors").unlink(), r"cannot read .*reward\.safetensors"),
    ],
)
def test_what_is_no_whole_reward_is_not_pushed(logged_in, saved, tmp_path, change, message):
    with pytest.raises(errors.CorruptReward, match=message):
        push_reward(damaged(saved, tmp_path / "damaged", change), "me/kind")
    assert logged_in.calls == []


def test_a_card_without_a_checksum_is_not_pushed(logged_in, saved, tmp_path):
    def age(folder):
        text = (folder / "config.json").read_text(encoding="utf-8")
        lines = [line for line in text.split("\n") if "weights_sha256" not in line]
        (folder / "config.json").write_text("\n".join(lines).replace('"schema_version": 2', '"schema_version": 1'))

    with pytest.raises(errors.CorruptReward, match="has no checksum of its weights, so nobody could check it"):
        push_reward(damaged(saved, tmp_path / "old", age), "me/kind")
    assert logged_in.calls == []


@pytest.mark.parametrize("name", ["", "kind", "a/b/c", "../kind", "me/two words", "/kind", "me/"])
def test_a_name_that_is_not_org_and_name_is_refused_without_asking(logged_in, saved, name):
    for share in (lambda: push_reward(saved, name), lambda: pull_reward(name)):
        with pytest.raises(errors.InvalidSetting, match="expected ORG/NAME"):
            share()
    assert logged_in.calls == []


def test_a_missing_token_is_named_before_anything_is_asked(fake_hub, saved):
    with pytest.raises(errors.UploadFailed, match="no token; log in with `hf auth login`, or set HF_TOKEN"):
        push_reward(saved, "me/kind", private=True)
    assert fake_hub.calls == []


def test_a_wrong_token_and_a_foreign_owner_are_refused(fake_hub, saved, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(errors.UploadFailed, match=r"Invalid user token.*log in"):
        push_reward(saved, "me/kind")
    assert fake_hub.writes() == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(errors.UploadFailed, match=r"403.*a token that may write"):
        push_reward(saved, "locked/kind")
    assert "locked/kind" not in fake_hub.repositories


def test_a_repository_that_holds_something_else_is_left_alone(logged_in, saved):
    logged_in.repositories["good/one"].files["model.safetensors"] = b"weights"
    with pytest.raises(errors.UploadFailed, match=r"holds 'model\.safetensors', expected a new one"):
        push_reward(saved, "good/one")
    assert logged_in.writes() == []


def test_a_private_push_to_a_public_repository_is_refused(logged_in, saved):
    push_reward(saved, "me/kind")
    before = logged_in.writes()
    with pytest.raises(errors.UploadFailed, match="exists and is public"):
        push_reward(saved, "me/kind", private=True)
    assert logged_in.writes() == before


@pytest.mark.parametrize("variable", hub.OFFLINE_VARIABLES)
def test_offline_fails_at_once(logged_in, saved, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    start = time.perf_counter()
    with pytest.raises(errors.UploadFailed, match=f"{variable} forbids the network"):
        push_reward(saved, "me/kind")
    with pytest.raises(errors.RewardNotFound, match=f"{variable} forbids the network"):
        pull_reward("me/kind")
    assert time.perf_counter() - start < 2
    assert logged_in.calls == []


def test_a_hub_that_never_answers_is_given_up(online, saved, monkeypatch):
    monkeypatch.setattr(hub, "LOOK_UP_SECONDS", 0.3)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        online(silent.getsockname()[1])
        with pytest.raises(errors.UploadFailed, match="does not answer"):
            push_reward(saved, "me/kind")
        with pytest.raises(errors.RewardNotFound, match="does not answer"):
            pull_reward("me/kind")


def test_a_pulled_reward_is_used_offline(logged_in, saved, llama, monkeypatch):
    push_reward(saved, "me/kind")
    folder = pull_reward("me/kind")
    monkeypatch.setenv("TRIMTAB_OFFLINE", "1")
    assert pull_reward("me/kind") == folder
    assert load_reward("me/kind", llama).name == "kind"


def test_a_damaged_download_is_repeated_once(logged_in, saved, tmp_path):
    push_reward(saved, "me/kind")
    flip(pull_reward("me/kind"))
    pulled = pull_reward("me/kind", tmp_path / "mine")
    assert (pulled / "reward.safetensors").read_bytes() == (saved / "reward.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("reward.safetensors", b"other bytes", "is damaged: got SHA-256"),
        ("config.json", b'{"model_type": "llama"}', "not a reward card"),
    ],
)
def test_a_damaged_repository_is_refused_and_an_older_folder_is_kept(
    logged_in, saved, tmp_path, file, content, message
):
    push_reward(saved, "me/kind")
    folder = pull_reward("me/kind", tmp_path / "mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    logged_in.repositories["me/kind"].files[file] = content
    shutil.rmtree(tmp_path / "hub-cache")
    with pytest.raises(
        errors.CorruptReward, match=f"got the repository 'me/kind', expected a whole reward: .*{message}"
    ):
        pull_reward("me/kind", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_weights_that_are_not_finite_are_refused_though_their_checksum_fits(logged_in, saved, tmp_path, llama):
    from safetensors.torch import load_file, save_file

    from trimtab.rewards.weights import sha256

    shutil.copytree(saved, tmp_path / "nan")
    path = tmp_path / "nan" / "reward.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, path)
    card = (tmp_path / "nan" / "config.json").read_text(encoding="utf-8")
    card = card.replace(read_card(saved).weights_sha256, sha256(path))
    logged_in.repositories["me/nan"] = type(logged_in.repositories["good/one"])(
        {"config.json": card.encode(), "reward.safetensors": path.read_bytes()}
    )
    with pytest.raises(errors.CorruptReward, match="not finite"):
        pull_reward("me/nan")
    (tmp_path / "nan" / "config.json").write_text(card, encoding="utf-8")
    with pytest.raises(errors.CorruptReward, match="not finite"):
        push_reward(tmp_path / "nan", "me/other")


def test_code_and_pickles_are_never_downloaded(logged_in, saved, tmp_path):
    push_reward(saved, "me/kind")
    logged_in.repositories["me/kind"].files |= {"modeling.py": b"import os", "pytorch_model.bin": b"pickle"}
    logged_in.calls.clear()
    folder = pull_reward("me/kind", tmp_path / "mine")
    assert {path.name for path in folder.iterdir()} == FILES
    assert not [call for call in logged_in.calls if "modeling" in call or ".bin" in call]


def test_a_folder_with_other_files_is_not_written(logged_in, saved, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(errors.InvalidSetting, match=r"it holds 'thesis\.tex'"):
        pull_reward("me/kind", tmp_path / "thesis")
    assert logged_in.calls == []


def test_a_full_disk_leaves_the_older_reward(logged_in, saved, tmp_path, monkeypatch):
    push_reward(saved, "me/kind")
    folder = pull_reward("me/kind", tmp_path / "mine")

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sharing.shutil, "copyfile", full)
    with pytest.raises(errors.InvalidOutput, match="the disk is full; an older one is kept"):
        pull_reward("me/kind", folder)
    assert read_card(folder) == read_card(saved)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nothing_that_is_pushed_names_a_local_folder(logged_in, tmp_path):
    lm = tiny_lm("llama")
    folder = tmp_path / "alice" / "private" / "lm"
    save_lm(lm, folder)
    lm.name = str(folder)
    reward = tiny_reward(lm, "q")
    reward.save_pretrained(folder.parent / "kind")
    assert read_card(folder.parent / "kind").base == "../lm"
    push_reward(folder.parent / "kind", "me/folder")
    reward.push_to_hub("me/memory")
    for name in ("me/folder", "me/memory"):
        pushed = logged_in.repositories[name].files
        assert b'"base": "lm (weights ' + lm.base_weights_fingerprint.encode() in pushed["config.json"]
        assert b'trimtab.load("path/to/lm")' in pushed["README.md"]
        assert not any(word in each for each in pushed.values() for word in (b"alice", b"private", b'".."', b"../"))
