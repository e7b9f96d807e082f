"""Judges of searches as text."""

import subprocess
import sys

import pytest

from fake_hub import Repository
from reward_models import save_encoder
from tiny import tiny_reward
from trimtab.errors import InvalidSetting, RewardMismatch, RewardNotFound, UnknownAttribute, UnsupportedModel
from trimtab.judges.draft import Draft
from trimtab.judges.notation import JudgeText, early_judge, judge_from_text, parse_judge
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import TextJudge
from trimtab.models.loading import load_codec
from trimtab.rewards import registry


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("self", JudgeText("self", None)),
        ("self:sentiment", JudgeText("self:sentiment", None)),
        ("toxicity=-1", JudgeText("toxicity", -1)),
        ("toxicity:toxicity=+1", JudgeText("toxicity:toxicity", 1)),
        ("onnx:some/folder:toxic=1", JudgeText("onnx:some/folder:toxic", 1)),
    ],
)
def test_judges_are_read_from_text(text, parsed):
    assert parse_judge(text) == parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toxicity", "as in toxicity=-1"),
        ("toxicity=-30", "as in toxicity=-1"),
        ("=+1", "as in toxicity=-1"),
        ("self:nothing", "harmlessness"),
        ("toxicty=-1", "did you mean toxicity=-1"),
        ("vadr=+1", r"did you mean vader=\+1"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(InvalidSetting, match=message):
        parse_judge(text)


def test_a_self_judge_is_made_with_its_settings():
    judge = judge_from_text("self:truthfulness", chat=True, soft=True)
    assert isinstance(judge, SelfJudge)
    assert (judge.question.name, judge.chat, judge.soft) == ("truthfulness", True, True)


@pytest.mark.parametrize(("text", "name"), [("mine=+1", "tiny-q:kind=+1"), ("mine:calm=-1", "tiny-q:calm=-1")])
def test_a_reward_judges_toward_or_away(llama, monkeypatch, text, name):
    monkeypatch.setattr(registry, "load_reward", lambda *given: tiny_reward(llama, "q"))
    judge = judge_from_text(text, llama)
    assert isinstance(judge, RewardJudge)
    assert judge.name == name


def test_a_classifier_judges_toward_or_away():
    shown = [Draft("", (), (), "What a lovely day!")]
    toward, away = judge_from_text("vader=+1"), judge_from_text("vader=-1")
    assert isinstance(toward, TextJudge)
    assert isinstance(away, TextJudge)
    (high,), (low,) = toward.score(shown, None), away.score(shown, None)
    assert high > 0.7
    assert low == pytest.approx(1 - high)
    assert (toward.threshold, away.threshold) == pytest.approx((0.525, 0.475))


def test_a_name_without_a_reward_names_a_classifier(monkeypatch):
    def missing(*given):
        raise RewardNotFound("none")

    monkeypatch.setattr(registry, "load_reward", missing)
    with pytest.raises(InvalidSetting, match="text-classification"):
        judge_from_text("no/such/model=-1")


def test_reading_a_judge_imports_no_torch():
    code = "import sys, trimtab.judges.notation as n; n.parse_judge('toxicity=-1'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_judge_without_rewards_loads_before_any_language_model():
    codec = load_codec("smollm2")
    judge = early_judge("self:truthfulness", codec, chat=True, soft=True)
    assert isinstance(judge, SelfJudge)
    assert (judge.chat, judge.soft) == (True, True)
    assert isinstance(early_judge("vader=-1", codec), TextJudge)
    assert early_judge("toxicity=-1", codec) is None


@pytest.mark.parametrize(
    ("text", "chat", "error"),
    [
        ("sentiment=+1", False, RewardMismatch),
        ("sentiment:nothing=+1", False, UnknownAttribute),
        ("self", True, InvalidSetting),
        ("self", False, UnsupportedModel),
        ("onnx:nowhere=+1", False, InvalidSetting),
    ],
)
def test_a_judge_that_does_not_fit_the_tokenizer_is_refused_early(llama, text, chat, error):
    with pytest.raises(error):
        early_judge(text, llama.codec, chat)


def test_a_classifier_in_a_folder_or_on_the_hub_is_told_from_a_reward(fake_hub, llama, tmp_path):
    """Both have a config.json and safetensors."""
    save_encoder(tmp_path / "nice", labels=2)
    files = {path.name: path.read_bytes() for path in (tmp_path / "nice").iterdir()}
    fake_hub.repositories["org/nice"] = Repository(files)
    drafts = [Draft("", (), (), text) for text in ("w1 w2", "w9 w8 w7")]
    local = judge_from_text(f"{tmp_path / 'nice'}:LABEL_1=+1")
    hosted = judge_from_text("org/nice:label_0=-1")
    assert isinstance(local, TextJudge)
    assert list(hosted.score(drafts, None)) == pytest.approx(list(local.score(drafts, None)))
    tiny_reward(llama, "q").save_pretrained(tmp_path / "kind")
    assert isinstance(judge_from_text(f"{tmp_path / 'kind'}=+1", llama), RewardJudge)


def test_names_of_the_hub_and_attributes_of_folders_are_no_slips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards" / "toxicity").mkdir(parents=True)
    for name in ("me/toxicity", "acme/sentiment", "rewards/toxicity:insult"):
        assert parse_judge(f"{name}=-1") == JudgeText(name, -1)
    with pytest.raises(InvalidSetting, match="did you mean toxicity"):
        parse_judge("toxicty=-1")
