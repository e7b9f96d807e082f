"""All writers write what was asked for, and say when the first token came."""

import pytest

from draft_heads import tiny_draft
from trimtab.benchmark.bench_settings import Setting
from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.rows import ROWS, VLLM_ROWS
from trimtab.benchmark.subject import Subject
from trimtab.benchmark.writers import Run, generate_writer, job_of, loop_writer, writer_of
from trimtab.engines.torch.draft_head import HeadProposer
from trimtab.engines.torch.engine import TorchEngine

ROW = {row.key: row for row in ROWS}
SETTING = Setting(3, 5, 6)


@pytest.fixture
def steps(subject):
    """Return the shapes of the ids that the language model reads, also as transformers loads it."""
    seen = []

    def read(module, given, named):
        seen.append(tuple(named["input_ids"].shape))

    models = subject.lm.model, subject.as_transformers_loads_it
    hooks = [model.register_forward_pre_hook(read, with_kwargs=True) for model in models]
    yield seen
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("key", [key for key in ROW if key != "draft"])  # the tiny model has no draft head
def test_every_row_reads_the_prompts_once_and_each_token_once(subject, key, steps):
    job = job_of(ROW[key], SETTING, FreshRewards(subject), seed=0)
    run = writer_of(ROW[key], job)(4)
    assert steps == [(3, 5), (3, 1), (3, 1), (3, 1)]
    assert run.tokens == 4
    assert run.first > 0
    assert run.others > 0


@pytest.mark.parametrize("row", VLLM_ROWS, ids=lambda row: row.key)
def test_the_rows_of_an_engine_are_written_by_its_running_batch(subject, row, steps):
    job = job_of(row, SETTING, FreshRewards(subject), seed=0)
    run = writer_of(row, job, TorchEngine(subject.lm))(4)
    assert steps == [(3, 5), (3, 1), (3, 1), (3, 1)]
    assert (run.tokens, run.first > 0, run.others > 0) == (4, True, True)


def test_the_time_per_token_leaves_the_first_token_out():
    assert Run(first=5.0, others=6.0, tokens=4).per_token == 2.0


def test_the_first_token_comes_behind_the_prompts_and_before_the_others(subject, steps):
    for make in (loop_writer, generate_writer):
        steps.clear()
        job = job_of(ROW["plain"], SETTING, FreshRewards(subject), seed=0)
        make(job, lambda: steps.append("started"))(4)
        assert steps.index("started") == 1


def test_transformers_samples_from_the_same_candidates(subject, monkeypatch):
    given = {}
    model = subject.as_transformers_loads_it
    plain = model.generate
    monkeypatch.setattr(model, "generate", lambda **named: given.update(named) or plain(**named))
    job = job_of(ROW["transformers"], SETTING, FreshRewards(subject), seed=0)
    writer_of(ROW["transformers"], job)(4)
    assert (given["do_sample"], given["top_k"], given["max_new_tokens"]) == (True, 6, 4)
    assert given["input_ids"].tolist() == job.prompts


def test_rows_share_no_prompt(subject):
    """Else our loop would encode one prompt for all."""
    job = job_of(ROW["plain"], SETTING, FreshRewards(subject), seed=0)
    requests = job.requests(4)
    assert len({tuple(request.prefix) for request in requests}) == 3
    assert {request.params.top_k for request in requests} == {6}


def test_a_draft_head_writes_behind_sentences(subject, eager, steps):
    drafting = Subject(subject.lm, subject.base, subject.layers)
    drafting.__dict__["proposers"] = {"draft": HeadProposer(tiny_draft(subject.lm), subject.lm)}
    job = job_of(ROW["draft"], SETTING, FreshRewards(drafting), seed=0)
    assert [len(prompt) for prompt in job.prompts] == [5, 5, 5]
    assert {request.params.speculate for request in job.requests(4)} == {"draft"}
    assert loop_writer(job)(6).tokens == 6
    assert any(columns > 1 for _, columns in steps[1:])


def test_a_row_that_drafts_has_prompts_to_copy_and_writes_as_many_tokens(subject):
    job = job_of(ROW["lookup"], SETTING._replace(prompt_tokens=10), FreshRewards(subject), seed=0)
    for prompt in job.prompts:
        assert len(prompt) == 10
        assert prompt[3:] == prompt[:7]
    assert {request.params.speculate for request in job.requests(4)} == {"lookup"}
    assert loop_writer(job)(6).tokens == 6
