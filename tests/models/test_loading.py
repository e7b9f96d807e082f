import shutil
import subprocess
import sys
import time

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel

import trimtab
from tiny import save_lm
from trimtab import errors
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.loading import find_model, load_codec, load_frozen_lm


@pytest.fixture(scope="module")
def saved(llama, tmp_path_factory):
    """A folder with a tiny model and its tokenizer."""
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    save_lm(llama, folder)
    return folder


@pytest.fixture
def damaged(saved, tmp_path):
    """A copy of the folder, to be damaged."""
    return shutil.copytree(saved, tmp_path / "damaged")


@pytest.mark.parametrize("name", ["no-such-model", "no/such-model", "nowhere.gguf", "", "a\0b", "x" * 5000, "x/y/z"])
@pytest.mark.parametrize("load", [load_codec, load_frozen_lm])
def test_an_unknown_model_is_refused_with_the_accepted_kinds_of_names(name, load):
    with pytest.raises(errors.ModelNotFound, match="expected") as caught:
        load(name)
    assert len(str(caught.value)) < 600


def test_a_misspelt_embedded_name_is_suggested_and_not_looked_up(monkeypatch):
    monkeypatch.setattr("trimtab.models.loading.fetch", lambda *_: pytest.fail("the Hub was asked"))
    with pytest.raises(errors.ModelNotFound, match="did you mean 'smollm2'"):
        load_codec("smolm2")


def test_a_device_that_torch_cannot_use_is_named():
    with pytest.raises(errors.InvalidSetting, match="abacus"):
        trimtab.load("smollm2", device="abacus")


@pytest.mark.parametrize(
    "options", [{"device": "abacus"}, {"device": "meta"}, {"device": "cuda:99"}, {"dtype": torch.int8}]
)
def test_a_device_or_dtype_that_cannot_compute_is_refused_before_weights_load(saved, monkeypatch, options):
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *_: pytest.fail("the weights were loaded"))
    with pytest.raises(errors.InvalidSetting, match="expected"):
        load_frozen_lm(str(saved), **options)


def test_a_saved_model_folder_loads_and_writes_the_same_text(llama, lm, saved):
    loaded = load_frozen_lm(str(saved))
    assert loaded.base_fingerprint == llama.base_fingerprint
    assert loaded.codec.fingerprint == llama.codec.fingerprint
    options = {"temperature": 0, "max_new_tokens": 5}
    assert LanguageModel(TorchEngine(loaded)).generate("w1", **options).text == lm.generate("w1", **options).text


def test_a_path_is_a_name(saved):
    assert load_codec(saved).name == str(saved)
    assert load_frozen_lm(saved).name == str(saved)


def test_a_model_loads_in_the_given_dtype(saved):
    lm = trimtab.load(str(saved), device="cpu", dtype=torch.bfloat16)
    assert lm.model.dtype == torch.bfloat16


def assert_same_codec(found, expected):
    for name in ("fingerprint", "context_length", "eos_token_ids", "bos_token_id"):
        assert getattr(found, name) == getattr(expected, name), name


def test_a_codec_without_weights_equals_the_model_s(frozen, tmp_path):
    save_lm(frozen, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    found = load_codec(str(tmp_path))
    assert_same_codec(found, frozen.codec)
    text = "w1 w2 <eos> w3"
    assert found.encode_prompt(text) == frozen.codec.encode_prompt(text)


@pytest.mark.parametrize("removed", ["generation_config.json", None])
def test_a_codec_ends_at_every_eos_that_the_model_ends_at(damaged, removed):
    config = damaged / "generation_config.json"
    config.write_text(config.read_text().replace('"eos_token_id": 2', '"eos_token_id": [2, 5]'))
    if removed:
        (damaged / removed).unlink()
    assert_same_codec(load_codec(str(damaged)), load_frozen_lm(str(damaged)).codec)
    assert load_codec(str(damaged)).eos_token_ids == ({2} if removed else {2, 5})


def test_a_config_that_leaves_out_its_defaults_is_completed(damaged):
    config = damaged / "config.json"
    lines = [each for each in config.read_text().splitlines() if '"max_position' not in each]
    config.write_text("\n".join(lines))
    assert load_codec(str(damaged)).context_length == load_frozen_lm(str(damaged)).context_length == 2048


def test_the_real_codec_loads_fast_and_without_torch():
    code = (
        "import time; start = time.process_time(); from trimtab.models.loading import load_codec\n"
        "codec = load_codec('smollm2'); print(time.process_time() - start, codec.fingerprint)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    load_codec("smollm2")  # converted, if it was not
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    seconds, fingerprint = output.split()
    assert float(seconds) < 4  # a ceiling for a busy machine; it takes 1
    assert fingerprint == "736ce3145b64b3bc"


DAMAGE = {
    "weights cut": ("model.safetensors", lambda data: data[:-100]),
    "weights flipped": ("model.safetensors", lambda data: bytes(255 - each for each in data[:64]) + data[64:]),
    "an absurd header": ("model.safetensors", lambda data: b"\xff" * 7 + b"\x7f" + data[8:]),
    "empty weights": ("model.safetensors", lambda data: b""),
    "no weights": ("model.safetensors", None),
    "no config": ("config.json", None),
    "a config that is no JSON": ("config.json", lambda data: data[:50]),
    "a config that is a list": ("config.json", lambda data: b"[]"),
    "a config without a type": ("config.json", lambda data: b"{}"),
    "an unknown type": ("config.json", lambda data: data.replace(b'"llama"', b'"no-such-type"')),
    "a width that is a word": ("config.json", lambda data: data.replace(b'"hidden_size": 32', b'"hidden_size": "x"')),
    "another width": ("config.json", lambda data: data.replace(b'"hidden_size": 32', b'"hidden_size": 64')),
    "more layers": ("config.json", lambda data: data.replace(b'hidden_layers": 3', b'hidden_layers": 5')),
    "a config that is no text": ("config.json", lambda data: b"\xff\xfe" + data),
    "a deep config": ("config.json", lambda data: b'{"a":' * 100000),
    "no tokenizer": ("tokenizer.json", None),
    "half a tokenizer": ("tokenizer.json", lambda data: data[:200]),
    "a tokenizer of nothing": ("tokenizer.json", lambda data: b"{}"),
    "deep tokenizer settings": ("tokenizer_config.json", lambda data: b'{"a":' * 100000),
    "tokenizer settings that are no text": ("tokenizer_config.json", lambda data: b"\xff\xfe\xfd"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.filterwarnings("ignore")  # the libraries that read the files may warn first
def test_a_damaged_folder_is_a_model_that_is_not_found(damaged, damage):
    name, change = DAMAGE[damage]
    data = (damaged / name).read_bytes()
    (damaged / name).unlink()
    if change is not None:
        (damaged / name).write_bytes(change(data))
        assert change(data) != data
    with pytest.raises(errors.ModelNotFound, match="damaged"):
        load_frozen_lm(str(damaged))


def test_a_folder_without_weights_is_refused_before_anything_is_read(damaged, monkeypatch):
    (damaged / "model.safetensors").unlink()
    monkeypatch.setattr("trimtab.models.loading._load_weights", lambda *_: pytest.fail("torch was asked"))
    with pytest.raises(errors.ModelNotFound, match="no weights"):
        load_frozen_lm(str(damaged))


def test_an_encoder_is_not_a_language_model(llama, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertLMHeadModel(BertConfig(vocab_size=64, **sizes)).save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(errors.UnsupportedModel, match="an encoder, which cannot write"):
        load_frozen_lm(str(tmp_path))


def test_a_folder_wins_over_the_hub(saved):
    assert find_model(str(saved), weights=True) == saved


def test_a_repository_on_the_hub_gives_its_tokenizer_first(saved, monkeypatch):
    asked = []

    def fetch(name, patterns):
        asked.append((name, tuple(patterns)))
        return saved

    monkeypatch.setattr("trimtab.models.loading.fetch", fetch)
    assert load_codec("owner/tiny").name == "owner/tiny"
    assert not any("safetensors" in pattern for pattern in asked[0][1])
    assert load_frozen_lm("owner/tiny").name == "owner/tiny"
    assert "*.safetensors" in asked[-1][1]


def test_an_unreachable_hub_is_one_line_and_fast():
    start = time.perf_counter()
    with pytest.raises(errors.ModelNotFound, match="HF_HUB_OFFLINE") as caught:
        load_frozen_lm("owner/unknown")
    assert time.perf_counter() - start < 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["GPT2Tokenizer", "Qwen2Tokenizer", "LlamaTokenizer", "GemmaTokenizer"])
def test_a_folder_without_the_vocabulary_of_its_tokenizer_is_refused(tmp_path, kind):
    """transformers makes a tokenizer of a few special tokens."""
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(f'{{"tokenizer_class": "{kind}"}}', encoding="utf-8")
    with pytest.raises(errors.ModelNotFound, match="vocabulary is missing"):
        load_codec(tmp_path)


def test_a_tokenizer_of_bytes_needs_no_vocabulary(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}', encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}', encoding="utf-8")
    assert load_codec(tmp_path).encode_text("ab") == [100, 101]
