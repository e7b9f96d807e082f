import json

import pytest

from tiny import opening_lm, tiny_lm, tiny_reward
from trimtab import errors
from trimtab.models.side_network import LAST
from trimtab.rewards.reward_model import RewardModel


@pytest.fixture(scope="module")
def saved(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "reward"
    tiny_reward(llama, "q").save_pretrained(folder)
    return folder


def load_saved(folder, lm):
    return RewardModel.from_folder(folder, load_base=lambda name: lm, lm=lm)


def test_the_trunks_weights_are_the_models_own(llama, head):
    trunk = tiny_reward(llama, head).network.trunk
    ours = trunk.layers[0].self_attn.q_proj.base_layer.weight
    assert ours.data_ptr() == llama.model.model.layers[0].self_attn.q_proj.weight.data_ptr()
    assert trunk.embed_tokens.weight.data_ptr() == llama.model.model.embed_tokens.weight.data_ptr()


def test_a_reward_with_a_bos_reads_only_a_model_whose_tokenizer_puts_it_before_a_text(llama):
    """Elsewhere the model's states are those of a text without BOS."""
    opening, settings = opening_lm("llama"), {"trunk": "frozen", "layers": 3}
    assert tiny_reward(llama, "q", **settings).reads(llama.model) is None
    assert tiny_reward(llama, "q", **settings, bos_token_id=None).reads(llama.model) == LAST
    assert tiny_reward(opening, "q", **settings).reads(opening.model) == LAST
    assert tiny_reward(llama, "q", "ladder").reads(llama.model) is None


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
def test_a_card_that_does_not_fit_the_weights_or_the_schema_is_refused(saved, llama, tmp_path, change):
    card = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**card, **change}))
    (tmp_path / "reward.safetensors").write_bytes((saved / "reward.safetensors").read_bytes())
    with pytest.raises(errors.TrimtabError):
        load_saved(tmp_path, llama)


def test_saving_replaces_an_older_reward_and_no_other_files(llama, tmp_path):
    reward = tiny_reward(llama, "q")
    folder = tmp_path / "reward"
    reward.save_pretrained(folder)
    reward.save_pretrained(folder)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(errors.InvalidSetting, match=r"thesis\.txt"):
        reward.save_pretrained(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    with pytest.raises(errors.InvalidOutput, match="is a file"):
        reward.save_pretrained(folder / "thesis.txt")


def test_one_text_scores_as_a_list_of_it(llama):
    reward = tiny_reward(llama, "q")
    assert reward.score("w1 w2 w3").equal(reward.score(["w1 w2 w3"]))


@pytest.mark.parametrize("nothing", [[], "", [""]])
def test_nothing_to_score_is_refused(llama, nothing):
    with pytest.raises(errors.InvalidPrompt):
        tiny_reward(llama, "q").score(nothing)


def test_text_without_a_utf8_encoding_cannot_be_scored(llama):
    with pytest.raises(errors.InvalidPrompt, match="UTF-8"):
        tiny_reward(llama, "q").score("w1 \ud800")


def test_an_unknown_attribute_is_refused_with_the_known_ones(llama):
    with pytest.raises(errors.UnknownAttribute, match="kind, calm"):
        tiny_reward(llama, "q").toward(1.0, attribute="cruel")


@pytest.mark.parametrize(
    "arguments",
    [
        {"beta": float("nan")},
        {"beta": 1e30},
        {"beta": 1.0, "clamp": (1.0, 0.0)},
        {"beta": 1.0, "min_entropy": -1.0},
    ],
)
def test_a_steer_out_of_range_is_refused(llama, arguments):
    with pytest.raises(errors.InvalidSetting, match="expected"):
        tiny_reward(llama, "q").toward(**arguments)


def test_more_layers_than_the_base_has_are_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="layers"):
        tiny_reward(llama, "q", layers=9)
