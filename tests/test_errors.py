"""What a user who types the wrong thing is told: one line, exit status 1, nothing lost."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, MambaConfig, T5Config, T5ForConditionalGeneration

import trimtab
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.sources import converted, load_frozen
from trimtab.lm import LanguageModel
from trimtab.rewards.model import RewardModel
from trimtab.rewards.shelf import load_reward


@pytest.fixture(scope="module")
def saved(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "reward"
    tiny_reward(llama, "q").save_pretrained(folder)
    return folder


def load_saved(folder, lm):
    return RewardModel.from_folder(folder, load_base=lambda name: lm, lm=lm)


@pytest.mark.parametrize("name", ["no-such-model", "no/such-model", "nowhere.gguf", ""])
def test_an_unknown_model_says_what_would_do(name):
    with pytest.raises(errors.ModelNotFound, match="expected"):
        trimtab.load(name)


def test_a_broken_gguf_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(errors.ModelNotFound, match=r"broken\.gguf"):
        converted(broken)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


@pytest.mark.parametrize("name", ["sentimnt", "no/such-reward"])
def test_an_unknown_reward_lists_the_bundled_ones(llama, name):
    with pytest.raises(errors.RewardNotFound, match=r"sentiment, .*toxicity"):
        load_reward(name, llama)


def test_a_folder_that_holds_no_reward_is_named(llama, tmp_path):
    with pytest.raises(errors.CorruptReward, match=r"config\.json"):
        load_reward(str(tmp_path), llama)


def test_a_reward_of_another_tokenizer_is_refused_with_both_fingerprints(llama):
    with pytest.raises(errors.RewardMismatch, match=llama.tokenizer_fingerprint):
        load_reward("sentiment", llama)


def test_a_reward_of_other_weights_is_refused(saved):
    stranger = tiny_lm("llama", seed=9)
    with pytest.raises(errors.RewardMismatch, match="trained on weights"):
        load_saved(saved, stranger)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_weights_file_is_named(saved, llama, tmp_path, keep):
    content = (saved / "reward.safetensors").read_bytes()
    (tmp_path / "reward.safetensors").write_bytes(content[: int(len(content) * keep)])
    (tmp_path / "config.json").write_text((saved / "config.json").read_text())
    with pytest.raises(errors.CorruptReward, match=r"reward\.safetensors"):
        load_saved(tmp_path, llama)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 99},
        {"rank": 8},
        {"head": "x"},
        {"surprise": 1},
        {"attributes": []},
        {"attributes": "abc"},
        {"clamp": [1, 0]},
    ],
)
def test_a_card_that_does_not_fit_is_refused(saved, llama, tmp_path, change):
    card = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**card, **change}))
    (tmp_path / "reward.safetensors").write_bytes((saved / "reward.safetensors").read_bytes())
    with pytest.raises(errors.TrimtabError):
        load_saved(tmp_path, llama)


def test_a_card_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(errors.CorruptReward, match="cannot read"):
        load_reward(str(tmp_path))


def test_saving_replaces_a_reward_and_nothing_else(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    folder = tmp_path / "reward"
    reward.save_pretrained(folder)
    reward.save_pretrained(folder)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(errors.InvalidSetting, match=r"thesis\.txt"):
        reward.save_pretrained(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    with pytest.raises(errors.InvalidSetting, match="is a file"):
        reward.save_pretrained(folder / "thesis.txt")


def test_one_text_is_scored_as_one_text(llama):
    reward = tiny_reward(llama, "q")
    assert reward.score("w1 w2 w3").equal(reward.score(["w1 w2 w3"]))
    for nothing in ([], "", [""]):
        with pytest.raises(errors.InvalidPrompt):
            reward.score(nothing)


def test_half_a_surrogate_pair_is_not_text(llama):
    for call in (tiny_reward(llama, "q").score, LanguageModel(llama).generate):
        with pytest.raises(errors.InvalidPrompt, match="UTF-8"):
            call("w1 \ud800")


def test_arguments_of_the_wrong_kind_say_what_is_expected():
    """In a process of its own, where no run-time type checker answers first."""
    code = """
from tiny import tiny_lm
from trimtab.errors import InvalidSetting
from trimtab.lm import LanguageModel

lm = LanguageModel(tiny_lm("llama"))
for options in ({"steer": "sentiment"}, {"seed": 1.5}, {"seed": "x"}, {"seed": [1, 2]}, {"steer": [None, None]}):
    try:
        lm.generate("w1", **options)
    except InvalidSetting as error:
        assert "expected" in str(error), error
    else:
        raise SystemExit(f"{options} was accepted")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_an_unusable_device_is_named():
    with pytest.raises(errors.InvalidSetting, match="abacus"):
        trimtab.load("smollm2", device="abacus")


def test_an_unknown_attribute_lists_the_known_ones(llama):
    with pytest.raises(errors.UnknownAttribute, match="kind, calm"):
        tiny_reward(llama, "q").toward(1.0, attribute="cruel")


def test_models_that_cannot_be_rewound_are_refused_up_front(llama):
    small = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64}
    mamba = AutoModelForCausalLM.from_config(MambaConfig(**small, state_size=4))
    t5 = T5ForConditionalGeneration(T5Config(d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=64))
    for model in (mamba, t5):
        with pytest.raises(errors.UnsupportedModel):
            FrozenLM(model, llama.tokenizer, "unsteerable")


def test_settings_that_make_no_sense_are_refused(llama):
    reward = tiny_reward(llama, "q")
    for arguments in (
        {"beta": float("nan")},
        {"beta": 1e30},
        {"beta": 1.0, "clamp": (1.0, 0.0)},
        {"beta": 1.0, "min_entropy": -1.0},
    ):
        with pytest.raises(errors.InvalidSetting, match="expected"):
            reward.toward(**arguments)
    with pytest.raises(errors.InvalidSetting, match="layers"):
        tiny_reward(llama, "q", layers=9)


def test_pushing_to_the_hub_uploads_a_whole_reward(llama, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, repo_id, private, exist_ok):
            calls.append((repo_id, private, exist_ok))
            return f"hub/{repo_id}"

        def upload_folder(self, repo_id, folder_path, commit_message):
            calls.append(load_saved(folder_path, llama).card)

    monkeypatch.setattr("trimtab.rewards.model.HfApi", Hub)
    reward = tiny_reward(llama, "q")
    assert reward.push_to_hub("me/kind", private=True) == "hub/me/kind"
    assert calls == [("me/kind", True, True), reward.card]


def test_every_error_is_a_trimtab_error_and_in_the_drawing():
    names = [name for name, value in vars(errors).items() if isinstance(value, type)]
    for name in names:
        assert issubclass(getattr(errors, name), errors.TrimtabError)
        assert name in errors.__doc__


def test_a_saved_model_folder_loads_and_writes_the_same(llama, tmp_path):
    llama.model.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    loaded = load_frozen(str(tmp_path))
    assert loaded.base_fingerprint == llama.base_fingerprint
    assert loaded.tokenizer_fingerprint == llama.tokenizer_fingerprint
    options = {"temperature": 0, "max_new_tokens": 5}
    assert LanguageModel(loaded).generate("w1", **options).text == LanguageModel(llama).generate("w1", **options).text


@pytest.mark.parametrize("code", ["import trimtab", "from trimtab.cli import app"])
def test_starting_needs_no_torch(code):
    start = time.perf_counter()
    check = f"import sys; {code}; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
    assert time.perf_counter() - start < 5  # a ceiling for a busy machine; the modules are what is tested


def test_the_public_face_is_what_it_says():
    assert trimtab.__all__ == sorted(trimtab.__all__)
    for name in trimtab.__all__:
        assert getattr(trimtab, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = trimtab.nonsense
