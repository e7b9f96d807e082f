"""`train_draft`: a head learns what its model writes, resumes, and is measured."""

import json
import random

import pytest
import torch

from draft_heads import tiny_draft
from tiny import tiny_lm
from trimtab.drafts.draft_model import build_head
from trimtab.engines.base import Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import CorruptCheckpoint, InvalidData, InvalidSetting
from trimtab.testing import assert_speculation_changes_nothing
from trimtab.training import RunFolder, RunOptions
from trimtab.training.callbacks import TrainingProgress
from trimtab.training.draft import frequent_tokens, train_draft
from trimtab.training.draft_measure import agreement
from trimtab.training.draft_objective import DraftTask
from trimtab.training.draft_reads import padded
from trimtab.training.draft_settings import DraftSettings
from trimtab.training.draft_texts import opening_prompts, read_draft_data

SMALL = {"tokens": 64, "taps": 2, "width": 32, "heads": 2, "top_k": 6, "new_tokens": 16, "max_tokens": 24}
SETTINGS = DraftSettings(**SMALL, epochs=4, batch_size=8, learning_rate=1e-2, warmup_steps=5, bf16=False)


@pytest.fixture(scope="module")
def base():
    """A tiny model."""
    return tiny_lm("llama", seed=4)


def prompts(count, seed=0):
    """Return random prompts."""
    draw = random.Random(seed)
    return [[draw.randrange(4, 60) for _ in range(4)] for _ in range(count)]


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft") / "run"
    return folder, train_draft(base, prompts(120), (), SETTINGS, RunOptions(RunFolder(folder), name="mine"))


def test_a_trained_head_guesses_what_its_model_writes(base, trained):
    """Far better than a fresh head of the same shape, on the model's texts behind other prompts."""
    _, draft = trained
    fresh = build_head(base, draft.card, draft.head.tokens)
    written = TorchEngine(base).sample(
        [Request(each, SamplingParams(top_k=6, max_new_tokens=16, seed=9)) for each in prompts(16, seed=1)]
    )
    batch = padded([[*each, *found[0].token_ids] for each, found in zip(prompts(16, seed=1), written, strict=True)])
    heads = (draft.head, fresh.requires_grad_(False).eval())
    learned, chance = (agreement(DraftTask(base, head, 3, top_k=6), [batch]) for head in heads)
    assert learned["acceptance 1"] > chance["acceptance 1"] + 0.08
    assert learned["greedy 1"] > chance["greedy 1"] + 0.08
    assert draft.card.quality["held-out texts"] == 6
    assert draft.card.quality["acceptance 1"] > chance["acceptance 1"] + 0.08
    assert draft.card.provenance["settings"]["steps"] == 3


def test_a_trained_head_drafts_and_no_text_changes(base, trained, eager):
    engine = TorchEngine(base, proposers={"draft": HeadProposer(trained[1], base)})
    params = SamplingParams(top_k=6, max_new_tokens=16, seed=0)
    requests = [Request(each, params) for each in prompts(8, seed=2)]
    found = assert_speculation_changes_nothing(engine, requests, "draft")
    assert sum(each.usage.accepted for of in found for each in of) > 3


def test_the_agreement_of_a_model_with_itself_is_one(base):
    """By hand: the share of places at which two choices with the same noise are the same token."""
    task = DraftTask(
        base,
        build_head(base, tiny_draft(base, tokens=base.vocabulary_size).card, torch.arange(base.vocabulary_size)),
        1,
        top_k=6,
    )
    ids, mask = padded([[10, 11, 12, 13, 14]])
    targets = task.read(ids)
    logits = torch.full((1, 4, base.vocabulary_size), -1e9).scatter(
        2, targets.ids[:, 1:], targets.probabilities[:, 1:].log()
    )
    task.guesses = lambda *_: [logits]
    assert agreement(task, [(ids, mask)]) == {"acceptance 1": 1.0, "greedy 1": 1.0}


class Stop(TrainingProgress):
    """Stops a run at a step, or while the model writes."""

    def __init__(self, step=None, written=None):
        self.stop_step, self.written, self.steps, self.resumes, self.finished = step, written, [], [], False

    def step(self, done, total):
        self.steps.append(done)
        if done == self.stop_step:
            raise KeyboardInterrupt

    def writing(self, done, total):
        if self.written is not None and done >= self.written:
            raise KeyboardInterrupt

    def resumed(self, checkpoint):
        self.resumes.append(checkpoint)

    def already_finished(self):
        self.finished = True


def test_an_interrupted_run_resumes_with_the_same_result(base, trained, tmp_path):
    _, expected = trained
    run = RunFolder(tmp_path / "run")
    for stop in (Stop(written=48), Stop(step=40)):
        with pytest.raises(KeyboardInterrupt):
            train_draft(base, prompts(120), (), SETTINGS, RunOptions(run, stop, "mine"))
    listener = Stop()
    found = train_draft(base, prompts(120), (), SETTINGS, RunOptions(run, listener, "mine"))
    assert listener.resumes
    assert listener.steps[0] > 1
    for name, weight in found.head.state_dict().items():
        torch.testing.assert_close(weight, expected.head.state_dict()[name], atol=1e-5, rtol=1e-4)


def test_a_finished_run_is_not_trained_again(base, trained):
    folder, expected = trained
    listener = Stop()
    found = train_draft(base, prompts(120), (), SETTINGS, RunOptions(RunFolder(folder), listener, "mine"))
    assert listener.finished
    assert not listener.steps
    assert found.card.quality == expected.card.quality
    final = folder / "final.safetensors"
    whole = final.read_bytes()
    final.write_bytes(whole[:-3] + b"\1\2\3")
    with pytest.raises(CorruptCheckpoint):
        train_draft(base, prompts(120), (), SETTINGS, RunOptions(RunFolder(folder), name="mine"))
    final.write_bytes(whole)


def test_a_run_of_other_settings_or_texts_is_refused(base, trained):
    folder, _ = trained
    for changed, given in (({"epochs": 2.0}, 120), ({}, 110)):
        settings = DraftSettings(**{**SMALL, "batch_size": 8, "bf16": False, **changed})
        with pytest.raises(InvalidData):
            train_draft(base, prompts(given), (), settings, RunOptions(RunFolder(folder)))


def test_what_cannot_be_trained_is_refused(base, tmp_path):
    run = RunOptions(RunFolder(tmp_path / "run"))
    with pytest.raises(InvalidSetting, match="no run folder"):
        train_draft(base, prompts(30), (), SETTINGS)
    with pytest.raises(InvalidData, match="got 3 prompts and texts, expected at least 20"):
        train_draft(base, prompts(3), (), SETTINGS, run)
    texts = [[1, 2, 3]] * 15 + [[1, 2, 3, 4]] * 10
    with pytest.raises(InvalidData, match="got 10 texts of more than steps=3 tokens, expected at least 20"):
        train_draft(base, [], texts, SETTINGS, run)
    with pytest.raises(InvalidSetting, match="expected at most 64"):
        train_draft(base, prompts(30), (), DraftSettings(max_tokens=65), run)
    with pytest.raises(InvalidSetting, match="layers"):
        train_draft(base, prompts(30), (), DraftSettings(**{**SMALL, "taps": 9}), run)
    assert not (tmp_path / "run").exists()


def test_texts_that_the_model_writes_too_short_to_learn_from_are_refused(base, tmp_path):
    settings = DraftSettings(**{**SMALL, "new_tokens": 1, "steps": 9})
    with pytest.raises(InvalidData, match="got 0 texts of more than steps=9 tokens"):
        train_draft(base, prompts(20), (), settings, RunOptions(RunFolder(tmp_path / "run")))


@pytest.mark.parametrize(
    "values", [{"tokens": 0}, {"width": 10, "heads": 3}, {"max_tokens": 3}, {"epochs": 0.0}, {"learning_rate": -1.0}]
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(InvalidSetting):
        DraftSettings(**values)


def test_the_most_frequent_tokens_are_known():
    assert frequent_tokens([[5, 5, 9], [9, 9, 7], [3]], 3) == [3, 5, 9]
    assert frequent_tokens([[1, 2]], 10) == [1, 2]


def test_rows_are_prompts_conversations_and_texts(base, tmp_path):
    file = tmp_path / "data.jsonl"
    rows = [{"prompt": "w1 w2"}, {"text": "w3 w4 w5"}, {"label": 1}, {"prompt": ""}, {"prompt": 7}, {"text": ""}]
    rows += [{"text": ["w1"]}, {"text": "w3 " * 99}, {"prompt": "w3 " * 99}]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n{\n")
    found = read_draft_data(file, base.codec)
    assert found.prompts == [base.codec.encode_prompt("w1 w2")]
    whole, cut = found.texts
    assert whole == base.codec.encode_prompt("w3 w4 w5")
    assert cut == base.codec.encode_text("w3 " * base.context_length)
    assert [fault.split(":")[0] for fault in found.faults] == [f"line {number}" for number in (3, 4, 5, 6, 7, 9, 10)]
    file.write_text('{"label": 1}\n')
    with pytest.raises(InvalidData, match="no usable row"):
        read_draft_data(file, base.codec)


def test_without_data_the_openings_are_continued_in_turn(base):
    found = opening_prompts(base.codec, 120)
    assert len(found.prompts) == 120
    assert found.prompts[0] == found.prompts[50]
