"""`trimtab rewards list`: what each reward serves, and what serves a model."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import BertConfig

from byte_lm import byte_lm
from tiny import tiny_lm, tiny_reward
from trimtab.cli.adapt import show_use
from trimtab.rewards import registry
from trimtab.rewards.card import CARD_FILE, read_card
from trimtab.rewards.reward_model import RewardModel


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with models of two tokenizers, and a package that bundles rewards on the first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "BUNDLED", tmp_path / "bundled")
    lm, other = tiny_lm("llama"), byte_lm("gpt2", merges=[("w", "1")])
    for name, each in {"org/lm": lm, "other": other}.items():
        each.tokenizer.save_pretrained(tmp_path / name)
        each.model.config.save_pretrained(tmp_path / name)  # no weights, which are not needed
    shutil.copytree("org/lm", "same")
    for name, head, trunk in (("", "q", "ladder"), ("-lora", "q", "lora"), ("-rad", "v", "lora")):
        reward = tiny_reward(lm, head, trunk, attributes=("toxic",), bos_token_id=None)
        card = replace(reward.card, base="org/lm")
        RewardModel(reward.network, card, lm).save_pretrained(tmp_path / "bundled" / f"toxicity{name}")
    return tmp_path


def sections(printed):
    """The commands of each section."""
    found, title = {}, ""
    for line in printed.splitlines():
        if not line.startswith(" "):
            title = line.removesuffix(":")
        else:
            found.setdefault(title, []).append(line.strip())
    return found


def test_the_list_says_what_each_reward_serves(trimtab, world):
    done = trimtab("rewards", "list")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows["toxicity"].split()[3] == "base"
    assert rows["toxicity-rad"].split()[3] == "tokenizer"
    assert "trimtab rewards list --model MODEL" in " ".join(done.stderr.split())


def test_a_model_of_the_tokenizer_has_rewards_that_are_ready(trimtab, world, monkeypatch):
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *given: pytest.fail("loaded weights"))
    assert sections(trimtab("rewards", "list", "--model", "org/lm").stdout) == {
        "ready": [
            "trimtab generate 'I think that' --model org/lm --steer toxicity=-30",
            "trimtab generate 'I think that' --model org/lm --steer toxicity-lora=-30",
            "trimtab generate 'I think that' --model org/lm --steer toxicity-rad=-30",
        ]
    }
    of_same = sections(trimtab("rewards", "list", "--model", "same").stdout)
    assert of_same["ready, runs path/to/lm beside it"] == [
        "trimtab generate 'I think that' --model same --steer toxicity=-30"
    ]
    assert len(of_same["ready"]) == 2


def test_a_bundled_reward_of_a_base_without_a_place_is_ready_for_a_model_of_its_name_alone(trimtab, world):
    shutil.copytree("other", "mine/small")
    shutil.copytree("bundled/toxicity-lora", "bundled/toxicity@small")
    path = world / "bundled" / "toxicity@small" / CARD_FILE
    fingerprint = byte_lm("gpt2", merges=[("w", "1")]).codec.fingerprint
    card = replace(read_card(path.parent), base="small (weights ab12)", tokenizer_fingerprint=fingerprint)
    path.write_text(card.to_json(), encoding="utf-8")
    commands = sections(trimtab("rewards", "list", "--model", "mine/small").stdout)
    assert commands["ready"] == ["trimtab generate 'I think that' --model mine/small --steer toxicity=-30"]
    assert "to adapt, in minutes" in sections(trimtab("rewards", "list", "--model", "other").stdout)


def test_a_model_of_another_tokenizer_gets_the_commands_that_adapt_and_those_that_run_at_once(trimtab, world):
    assert sections(trimtab("rewards", "list", "--model", "other").stdout) == {
        "to adapt, in minutes": ["trimtab adapt toxicity --model other"],
        "at once, slowly": ["trimtab generate 'I think that' --model other --steer toxicity=-30 --retokenize"],
    }


def test_rewards_that_were_adapted_are_ready_and_other_folders_are_passed_over(trimtab, world):
    tiny_reward(byte_lm("gpt2", merges=[("w", "1")]), "q").save_pretrained(world / "rewards" / "kind")
    (world / "rewards" / "notes").mkdir()
    (world / "rewards" / "notes.txt").write_text("mine", encoding="utf-8")
    found = sections(trimtab("rewards", "list", "--model", "other").stdout)
    assert found["ready"] == ["trimtab generate 'I think that' --model other --steer rewards/kind:kind=+30"]


def test_every_offer_is_a_steer_that_generate_takes(trimtab):
    for line in trimtab("rewards", "list", "--model", "smollm2").stdout.splitlines():
        if "--steer" in (words := shlex.split(line)):
            registry.check_steers([words[words.index("--steer") + 1]])


def test_the_command_behind_an_adapted_reward_names_one_of_its_attributes(llama, capsys):
    show_use(tiny_reward(llama, "q", attributes=("toxic", "calm")), Path("rewards/mine"), "lm")
    assert capsys.readouterr().out == "trimtab generate 'I think that' --model lm --steer rewards/mine:toxic=-30\n"


def test_the_rewards_among_which_weights_choose_are_listed_by_their_whole_names(trimtab, world):
    shutil.copytree("bundled/toxicity-lora", "bundled/toxicity@lm")
    found = sections(trimtab("rewards", "list", "--model", "org/lm").stdout)
    by_name = found["ready, by whole names; the name alone takes the one that fits the model's weights"]
    assert "trimtab generate 'I think that' --model org/lm --steer toxicity@lm=-30" in by_name
    assert "trimtab generate 'I think that' --model org/lm --steer toxicity=-30" in found["ready"] + by_name


def test_no_name_of_a_bundled_reward_is_broken_in_a_narrow_terminal(trimtab, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = {line.split()[0] for line in trimtab("rewards", "list").stdout.splitlines()[1:]}
    assert listed == set(registry.bundled_rewards())


def test_a_model_that_cannot_write_is_offered_nothing(trimtab, world):
    shutil.copytree("other", "encoder")
    BertConfig(vocab_size=64).save_pretrained("encoder")
    done = trimtab("rewards", "list", "--model", "encoder", check=False)
    assert (done.status, done.stdout) == (1, "")
    assert "an encoder, which cannot write" in done.stderr


def test_a_model_that_does_not_exist_is_refused(trimtab, world):
    done = trimtab("rewards", "list", "--model", "none", check=False)
    assert done.status == 1
    assert "cannot load a language model from 'none'" in done.stderr
