"""`trimtab rewards push` and `trimtab rewards pull`, against a Hub on this machine."""

import pytest

from fake_hub import TOKEN
from trimtab.rewards.card import read_card

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of httpx in huggingface_hub


@pytest.fixture
def logged_in(fake_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return fake_hub


def test_a_reward_is_pushed_pulled_and_used_by_the_commands_that_are_printed(trimtab, logged_in, place, teacher):
    done = trimtab("rewards", "push", teacher, "me/good", "--license", "mit")
    assert f"pushed to {logged_in.address}/me/good" in done.stderr
    assert "no license" not in done.stderr
    assert done.stdout == "trimtab generate 'I think that' --model path/to/lm --steer me/good=+30\n"
    assert b"license: mit" in logged_in.repositories["me/good"].files["README.md"]
    out = place / "pulled"
    pulled = trimtab("rewards", "pull", "me/good", "--out", out)
    assert pulled.stdout.endswith(f"--steer {out}=+30\n")
    assert read_card(out).weights_sha256 == read_card(teacher).weights_sha256
    written = trimtab("generate", "w1 w2", "--model", place / "lm", "--steer", "me/good=+30", "--max-new-tokens", 3)
    assert written.stdout.startswith("w1 w2")


def test_a_push_without_a_licence_says_so(trimtab, logged_in, teacher):
    done = trimtab("rewards", "push", teacher, "me/bare", "--private")
    assert "no license is named" in done.stderr
    assert logged_in.repositories["me/bare"].private


def test_faults_are_one_line(trimtab, fake_hub, place, teacher):
    for words, message in {
        ("push", teacher, "me/good"): "no token; log in",
        ("push", teacher, "good"): "expected ORG/NAME",
        ("push", place / "lm", "me/good"): "not a reward card",
        ("push", place / "none", "me/good"): "has no config.json",
        ("pull", "me/none"): "the Hub has no such repository",
        ("pull", "good/one"): "expected a whole reward",
        ("pull", "good/one", "--out", place / "train.csv"): "it is a file",
    }.items():
        done = trimtab("rewards", *words, check=False)
        assert done.status == 1
        last = done.stderr.splitlines()[-1]  # behind the progress of a download
        assert last.startswith("trimtab: ")
        assert message in last
    assert fake_hub.writes() == []
