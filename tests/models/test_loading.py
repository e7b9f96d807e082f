import pytest
import torch

import trimtab
from trimtab import errors
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.loading import cache_folder, converted, find_source, load_frozen_lm


@pytest.mark.parametrize("name", ["no-such-model", "no/such-model", "nowhere.gguf", ""])
def test_an_unknown_model_is_refused_with_the_accepted_kinds_of_names(name):
    with pytest.raises(errors.ModelNotFound, match="expected"):
        trimtab.load(name)


def test_a_damaged_gguf_file_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "cache"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(errors.ModelNotFound, match=r"broken\.gguf"):
        converted(broken)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_a_device_that_torch_cannot_use_is_named():
    with pytest.raises(errors.InvalidSetting, match="abacus"):
        trimtab.load("smollm2", device="abacus")


def test_a_saved_model_folder_loads_and_writes_the_same_text(llama, lm, tmp_path):
    llama.model.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    loaded = load_frozen_lm(str(tmp_path))
    assert loaded.base_fingerprint == llama.base_fingerprint
    assert loaded.codec.fingerprint == llama.codec.fingerprint
    options = {"temperature": 0, "max_new_tokens": 5}
    assert LanguageModel(TorchEngine(loaded)).generate("w1", **options).text == lm.generate("w1", **options).text


def test_a_model_loads_in_the_given_dtype(llama, tmp_path):
    llama.model.save_pretrained(tmp_path)
    llama.tokenizer.save_pretrained(tmp_path)
    lm = trimtab.load(str(tmp_path), device="cpu", dtype=torch.bfloat16)
    assert lm.model.dtype == torch.bfloat16


def test_a_name_that_is_no_file_goes_to_transformers_unchanged():
    assert find_source("some/model") == "some/model"


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("TRIMTAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "trimtab"
    monkeypatch.setenv("TRIMTAB_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
