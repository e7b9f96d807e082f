"""Prompt sets: usable prompts in order, and why the others were left out."""

import hashlib
import json

import pytest

from trimtab.errors import InvalidData
from trimtab.evaluation.run.prompt_sets import read_prompt_set


@pytest.fixture
def source(tmp_path):
    rows = [{"prompt": {"text": "w1 w2"}}, {"prompt": {"text": ""}}, {"prompt": {"text": " ".join(["w1"] * 64)}}]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, {"prompt": {"text": "w3"}}])), encoding="utf-8")
    return str(path)


def test_prompts_that_the_model_cannot_continue_are_left_out(llama, source):
    found = read_prompt_set(source, "down", llama.codec, "prompt.text", None)
    assert (found.name, found.direction, found.prompts) == ("some", "down", ("w1 w2", "w3"))
    assert [fault.split(":")[0] for fault in found.faults] == ["line 2", "line 3"]
    assert found.digest == hashlib.sha256(b'["w1 w2", "w3"]').hexdigest()[:16]


def test_the_limit_counts_usable_prompts(llama, source):
    assert read_prompt_set(source, "up", llama.codec, "prompt.text", 1).prompts == ("w1 w2",)


def test_a_table_without_prompts_is_refused(llama, source):
    with pytest.raises(InvalidData, match="no usable row"):
        read_prompt_set(source, "up", llama.codec, "question", None)
