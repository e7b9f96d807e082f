import json

import pytest

from trimtab.cli.prompt_file import check_sources, resolve_seed
from trimtab.errors import InvalidData, InvalidPrompt, InvalidSetting


@pytest.mark.parametrize(
    ("prompts", "source", "target", "error", "message"),
    [
        (None, None, None, InvalidSetting, "no prompts"),
        ([], None, None, InvalidSetting, "no prompts"),
        (["w1", ""], None, None, InvalidPrompt, "empty prompt"),
        (["w1"], "in.jsonl", "out.jsonl", InvalidSetting, "prompts and --input, expected one"),
        (None, "in.jsonl", None, InvalidSetting, "one of --input and --output"),
        (None, "none.jsonl", "out.jsonl", InvalidData, "no such file"),
    ],
)
def test_sources_that_cannot_be_continued_are_refused(tmp_path, prompts, source, target, error, message):
    (tmp_path / "in.jsonl").write_text('{"prompt": "w1"}\n', encoding="utf-8")
    with pytest.raises(error, match=message):
        check_sources(prompts, source and tmp_path / source, target and tmp_path / target)


@pytest.mark.parametrize("settings", [{"job": {"seed": 7}}, {"job": {"sampling": {"seed": 7, "n": 2}}}])
def test_an_interrupted_run_resumes_with_the_seed_it_drew(tmp_path, settings):
    target = tmp_path / "out.jsonl"
    target.write_text("{}\n", encoding="utf-8")
    (tmp_path / "out.jsonl.settings.json").write_text(json.dumps(settings), encoding="utf-8")
    assert resolve_seed(None, target) == 7
    assert resolve_seed(3, target) == 3


def test_a_new_run_draws_a_new_seed(tmp_path):
    assert len({resolve_seed(None, tmp_path / "out.jsonl") for _ in range(3)}) == 3


@pytest.mark.parametrize("content", ["{broken", "[]", "{}", '{"job": 3}', '{"job": {"seed": "x"}}'])
def test_damaged_settings_are_refused(tmp_path, content):
    (tmp_path / "out.jsonl").write_text("{}\n", encoding="utf-8")
    (tmp_path / "out.jsonl.settings.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match="choose another path"):
        resolve_seed(None, tmp_path / "out.jsonl")
