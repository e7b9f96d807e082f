"""A folder that holds no classifier is refused by its config, before weights are read."""

import json

import pytest

from trimtab.errors import InvalidData, InvalidSetting
from trimtab.evaluation.score.judge_specs import check_judges
from trimtab.judges.classifier_config import check_classifier_config
from trimtab.judges.load import load_judge


def config_of(folder, **values):
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "BertForMaskedLM"])
@pytest.mark.parametrize("load", [load_judge, lambda spec: check_judges([spec])])
def test_a_language_model_is_refused_by_its_config_alone(tmp_path, name, load):
    config_of(tmp_path, architectures=[name])
    with pytest.raises(InvalidSetting, match=f"it is no classifier, but a language model: '{name}'"):
        load(f"{tmp_path}:toxic")


@pytest.mark.parametrize(
    "values",
    [
        {"architectures": ["BertForSequenceClassification"]},
        {"architectures": ["OurOwnHead"]},
        {"architectures": []},
        {},
    ],
)
def test_what_may_be_a_classifier_is_left_to_the_loader(tmp_path, values):
    check_classifier_config(config_of(tmp_path, **values))


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff"])
def test_a_config_that_cannot_be_read_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InvalidData, match=r"config\.json|JSON"):
        check_classifier_config(tmp_path)
    with pytest.raises(InvalidSetting, match="expected vader"):
        check_judges([str(tmp_path)])
