import pytest

from tiny_job import json_rows, rewind_job, write_lines
from trimtab import jobs
from trimtab.jobs import FileTarget


def shortness(prompt, text):
    return 1 / (1 + len(text))


def test_searches_over_a_file_write_the_results_of_each_prompt_alone(lm, tmp_path):
    job = rewind_job()
    source = write_lines(tmp_path / "in.jsonl", [{"prompt": "w1 w2"}, {"prompt": "w7"}])
    target = tmp_path / "out.jsonl"

    def search(batch):
        found = jobs.search_prompts(lm, batch, shortness, None, job)
        return [jobs.describe_search(prompt, result, job) for prompt, result in zip(batch, found, strict=True)]

    assert jobs.run_file(lm, source, FileTarget(target), search, job, 2) == []
    for row, prompt in zip(json_rows(target), ["w1 w2", "w7"], strict=True):
        alone = lm.rewind(prompt, shortness, settings=job.settings, similarity="off", seed=5)
        assert (row["prompt"], row["text"], row["token_ids"]) == (prompt, alone.text, alone.token_ids)
        assert row["iterations"] == alone.iterations
        assert row["call"]["tokens"] > 0


def test_an_interrupted_search_is_not_written(lm):
    def interrupt(progress):
        raise KeyboardInterrupt

    prompt = jobs.NumberedPrompt(1, "w1 w2", {"prompt": "w1 w2"})
    (result,) = jobs.search_prompts(lm, [prompt], shortness, None, rewind_job(), interrupt)
    with pytest.raises(KeyboardInterrupt):
        jobs.describe_search(prompt, result, rewind_job())
