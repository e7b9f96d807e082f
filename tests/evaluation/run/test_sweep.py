"""The sweep: texts written once, resumed exactly, and never mixed with others."""

from dataclasses import replace

import pytest
import torch

from tiny import tiny_lm, tiny_reward
from tiny_sweep import SETS, SETTINGS, contents, tiny_sweep
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.evaluation.report.collect import read_rows
from trimtab.evaluation.run.plan import Plan
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.evaluation.run.row_file import RowFile
from trimtab.evaluation.run.sweep import Sweep
from trimtab.evaluation.run.sweep_settings import Grid
from trimtab.language_model import LanguageModel


def test_two_rewards_of_one_name_are_no_curve(lm, tmp_path):
    """The reward was trained again between two runs, and keeps its name."""

    def sweep(seed, beta):
        rewards = {"q": [(tiny_reward(lm.base, "q", seed=seed), None)]}
        rows = Plan(Grid(reward=["q"], beta=[beta]), SETTINGS, rewards, None).rows(SETS[:1])
        return Sweep("prompts", [row for row in rows if row.method.name == "q"], SETTINGS, tmp_path)

    sweep(0, 2.0).run(lm)
    sweep(0, 5.0).check(lm)
    with pytest.raises(InvalidData, match="written by two rewards of one name"):
        sweep(1, 5.0).check(lm)
    sweep(1, 5.0).run(lm)  # as a version did that did not check
    with pytest.raises(InvalidData, match="written by two rewards of one name"):
        read_rows(tmp_path)


def test_a_file_with_another_rows_name_is_refused(lm, tmp_path):
    tiny_sweep(lm, tmp_path).run(lm)
    (tmp_path / "some--up--q=5.jsonl").rename(tmp_path / "some--up--q=50.jsonl")
    with pytest.raises(InvalidData, match="'some--up--q=50' holds the row 'some--up--q=5'"):
        read_rows(tmp_path)


def test_every_method_continues_every_prompt(whole):
    rows = read_rows(whole)
    methods = [(row.settings["method"], row.settings["beta"]) for row in rows if row.settings["prompts"] == "some"]
    steered = [(name, beta) for name in ("q", "q+v", "v") for beta in (2.0, 5.0)]
    assert methods == [("unsteered", None), ("top-k", 0.0), *steered, ("best of 2 by tiny-q", None)]
    for row in rows:
        assert [text["sample"] for text in row.flat] == [0, 1, 2] * len(row.texts)
        assert [of[0]["place"] for of in row.texts] == list(range(row.settings["prompts_count"]))


def test_settings_of_a_row_have_the_keys_of_version_0_1(lm, whole):
    """Folders that version 0.1 wrote can still be reported."""
    settings = next(row.settings for row in read_rows(whole) if row.name == "some--up--q=5")
    names = "task prompts prompts_digest prompts_count direction method beta rewards model dtype samples max_new_tokens"
    hashes = ["base_fingerprint", "weights_fingerprint", "card_fingerprints"]
    assert sorted(settings) == sorted([*names.split(), "top_k", "temperature", "seed", "batch_size", *hashes])
    assert settings["dtype"] == "float32"
    assert settings["base_fingerprint"] == lm.base.base_fingerprint
    assert settings["rewards"] == [["tiny-q", "kind", "q", tiny_reward(lm.base, "q").fingerprint]]


@torch.inference_mode()
def test_the_record_of_a_text_equals_whole_forwards(lm, whole):
    """base_logprobs, kl and flips of each token, from a forward over the whole text in float64."""
    (row,) = (row for row in read_rows(whole) if row.name == "some--up--q=5")
    reward, model, seen = tiny_reward(lm.base, "q"), lm.model, 0
    for text in row.flat:
        ids = lm.tokenizer(text["prompt"])["input_ids"]
        for place, token in enumerate(text["token_ids"]):
            logits = model(torch.tensor([ids])).logits[0, -1].double()
            base, kept = logits.log_softmax(-1), logits.topk(6).indices.tolist()
            said = [reward.score_ids([[*ids, each]]).values[0, -1, 0].double().clamp(0, 1) for each in kept]
            steered = (logits[kept] + 5 * torch.stack(said)).log_softmax(0)
            assert text["base_logprobs"][place] == pytest.approx(base[token].item(), abs=1e-4)
            assert text["kl"][place] == pytest.approx((steered.exp() * (steered - base[kept])).sum().item(), abs=1e-3)
            assert text["flips"][place] == int(steered.argmax() != base[kept].argmax())
            ids, seen = [*ids, token], seen + 1
    assert seen > 20


def test_encoded_counts_the_tokens_of_the_steered_models_too(lm, whole):
    """One batch of two prompts × 3 samples: the base's tokens, and for a steered row the reward's on top."""
    rows = {row.name: row.flat for row in read_rows(whole)}
    plain, steered = rows["some--up--top-k=0"], rows["some--up--v=5"]
    prompts = sum(len(prompt.split()) for prompt in SETS[0].prompts)
    written = sum(len(text["token_ids"]) for text in plain)
    assert sum(text["encoded"] for text in plain) <= written + 2 * prompts + len(plain)
    assert sum(text["encoded"] for text in steered) > 3 * sum(text["encoded"] for text in plain)


@pytest.mark.parametrize("torn", ["", '{"place": 1, "sam'])
@pytest.mark.parametrize("lines", [0, 1, 2, 7, 8, 10])
def test_a_killed_sweep_resumes_to_the_same_bytes(lm, whole, copied, lines, torn):
    target = copied / "some--up--q=5.jsonl"
    kept = target.read_text(encoding="utf-8").split("\n")[:lines]
    target.write_text("".join(line + "\n" for line in kept) + torn, encoding="utf-8")
    (copied / "some--up--v=5.jsonl").unlink()
    tiny_sweep(lm, copied).run(lm)
    assert contents(copied) == contents(whole)


@pytest.mark.parametrize("change", [{"seed": 1}, {"top_k": 5}, {"samples": 2}, {"max_new_tokens": 3}])
def test_rows_with_other_settings_are_refused_and_left_alone(lm, whole, copied, change):
    with pytest.raises(InvalidData, match="other settings"):
        tiny_sweep(lm, copied, replace(SETTINGS, **change)).run(lm)
    assert contents(copied) == contents(whole)


def test_rows_with_other_prompts_are_refused(lm, copied):
    with pytest.raises(InvalidData, match="prompts_digest"):
        tiny_sweep(lm, copied, sets=[PromptSet("some", "up", ("w1", "w3", "w4"))]).run(lm)


def test_two_rows_of_one_name_are_refused(lm, tmp_path):
    with pytest.raises(InvalidSetting, match="two rows named"):
        tiny_sweep(lm, tmp_path, sets=[SETS[0], SETS[0]])


def test_a_retrained_reward_of_the_same_name_is_refused(lm, copied):
    retrained = {"q": [(tiny_reward(lm.base, "q", seed=5), None)]}
    rows = Plan(Grid(["q"], beta=[2.0]), SETTINGS, retrained, None).rows(SETS)
    with pytest.raises(InvalidData, match="rewards"):
        Sweep("prompts", rows, SETTINGS, copied).run(lm)


def test_a_reward_of_the_same_weights_with_another_card_is_refused(lm, copied):
    """Half of the range steers half as far."""
    narrowed = {"q": [(tiny_reward(lm.base, "q", clamp=(0.0, 0.5)), None)]}
    rows = Plan(Grid(["q"], beta=[2.0]), SETTINGS, narrowed, None).rows(SETS)
    with pytest.raises(InvalidData, match="card_fingerprints"):
        Sweep("prompts", rows, SETTINGS, copied).run(lm)


def test_a_model_with_one_changed_matrix_is_refused(copied):
    """The matrix is in the middle of the model, where the fingerprint of the cards does not look."""
    changed = tiny_lm("llama")
    changed.model.model.layers[0].mlp.up_proj.weight.data *= 3
    with pytest.raises(InvalidData, match="weights_fingerprint"):
        tiny_sweep(LanguageModel(TorchEngine(changed)), copied).run(LanguageModel(TorchEngine(changed)))


def test_a_row_that_another_process_holds_is_left_to_it(lm, whole, copied):
    target = copied / "some--up--q=5.jsonl"
    target.unlink()
    with RowFile(target, {}).claimed() as ours:
        assert ours
        assert [row.name for row in tiny_sweep(lm, copied).run(lm)] == ["some--up--q=5"]
        assert not target.exists()
    assert tiny_sweep(lm, copied).run(lm) == []
    assert contents(copied) == contents(whole)


def test_progress_is_reported_by_prompts(lm, tmp_path):
    seen = []
    sweep = tiny_sweep(lm, tmp_path, grid=Grid(), sets=SETS[:1])
    sweep.run(lm, lambda row, done, total: seen.append((row.name, done, total)))
    assert seen == [(name, done, 3) for name in ("some--up--unsteered", "some--up--top-k=0") for done in (0, 2, 3)]


def test_a_sweep_is_checked_before_anything_is_written(lm, copied):
    before = contents(copied)
    tiny_sweep(lm, copied).check(lm)
    with pytest.raises(InvalidData, match="seed"):
        tiny_sweep(lm, copied, settings=replace(SETTINGS, seed=1)).check(lm)
    assert contents(copied) == before


def test_other_versions_resume(lm, whole, copied):
    """What decides the texts is compared; the versions are recorded."""
    target = copied / "some--up--q=5.jsonl"
    lines = target.read_text(encoding="utf-8").split("\n")
    target.write_text("\n".join([lines[0].replace('"torch": "', '"torch": "9'), *lines[1:7]]) + "\n", encoding="utf-8")
    assert tiny_sweep(lm, copied).run(lm) == []
    _, *texts = target.read_text(encoding="utf-8").split("\n")
    assert texts == (whole / target.name).read_text(encoding="utf-8").split("\n")[1:]
    makers = next(row.made_by for row in read_rows(copied) if row.name == "some--up--q=5")
    assert [maker["first_text"] for maker in makers] == [0, 6]
    assert makers[0]["torch"] == "9" + makers[1]["torch"]
