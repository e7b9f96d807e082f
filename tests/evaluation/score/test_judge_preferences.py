"""The scores of judges on preference sets, against the judge asked alone."""

import numpy as np
import pytest

from fake_engine import CharacterCodec, FakeEngine
from tiny import tiny_lm, tiny_reward
from trimtab.data.preferences import Comparison
from trimtab.engines.torch.engine import TorchEngine
from trimtab.evaluation.score.judge_preferences import score_by_judge
from trimtab.judges.draft import Draft
from trimtab.judges.question import parse_question
from trimtab.judges.reward_judge import RewardJudge
from trimtab.judges.self_judge import SelfJudge
from trimtab.judges.text_judges import TextJudge

COMPARISONS = [Comparison("w1 w2", ("w3", "w4 w5"), ("w6 w7", "w8")), Comparison("", ("w9", "w1"), ("w2", "w3"))]


def test_a_judge_of_texts_reads_the_template():
    seen: list[str] = []

    def classify(texts):
        seen.extend(texts)
        return [len(text) / 100 for text in texts]

    scores, cut = score_by_judge(TextJudge("length", classify), None, COMPARISONS, "Q {prompt} A {answer}")
    assert seen[:4] == ["Q w1 w2 A w3", "Q w1 w2 A w6 w7", "Q w1 w2 A w4 w5", "Q w1 w2 A w8"]
    assert seen[4:] == ["w9", "w2", "w1", "w3"]  # whole conversations
    assert scores.tolist() == np.array([len(text) / 100 for text in seen]).reshape(2, 2, 2).tolist()
    assert cut == 0


@pytest.mark.parametrize("prompt_words", [5, 80])
def test_a_judge_with_an_engine_reads_prompt_and_answer_and_what_fits(prompt_words):
    engine = TorchEngine(tiny_lm("llama", seed=3))
    judge = RewardJudge(tiny_reward(engine.base, "q").toward(1.0))
    prompt = " ".join(f"w{n % 9 + 1}" for n in range(prompt_words))
    comparison = Comparison(prompt, ("w3 w4",), ("w6",))
    scores, cut = score_by_judge(judge, engine, [comparison], "{prompt} {answer}")
    room = judge.room(engine.codec, "", ())
    for score, answer in zip(scores[0, 0], ("w3 w4", "w6"), strict=True):
        ids = [*engine.codec.encode_text(prompt), *engine.codec.encode_text(answer)][-room:]
        (expected,) = judge.score([Draft("", (), tuple(ids), "")], engine)
        assert score == pytest.approx(expected, abs=1e-5)
    assert cut == (2 if prompt_words == 80 else 0)


def test_an_answer_that_fills_the_context_is_cut_at_its_end():
    engine = TorchEngine(tiny_lm("llama", seed=3))
    judge = RewardJudge(tiny_reward(engine.base, "q").toward(1.0))
    answer = " ".join(f"w{n % 9 + 1}" for n in range(90))
    scores, cut = score_by_judge(judge, engine, [Comparison("w1", (answer,), ("w2",))], "{prompt} {answer}")
    ids = engine.codec.encode_text(answer)[: judge.room(engine.codec, "", ())]
    (expected,) = judge.score([Draft("", (), tuple(ids), "")], engine)
    assert (scores[0, 0, 0], cut) == (pytest.approx(expected, abs=1e-5), 1)


@pytest.mark.parametrize(("prompt", "answer"), [("Why? " * 90, "It is. "), ("Why?", "It is. " * 90), ("", "It. " * 90)])
def test_texts_that_a_self_judge_cannot_read_whole_are_cut_to_fill_its_context(prompt, answer):
    """The question's own words around a prompt count, too."""
    options = [{"text": "Yes.", "score": 1}, {"text": "No.", "score": 0}]
    content = {"instruction": "Name it.", "layout": "Q: {prompt}\nA: {text}", "ask": "Good?", "options": options}
    engine = FakeEngine(lambda prefix, letter: -1.0, CharacterCodec(context_length=120))
    judge = SelfJudge(parse_question("fit", content))
    scores, cut = score_by_judge(judge, engine, [Comparison(prompt, (answer,), ("No.",))], "")
    assert scores.shape == (1, 1, 2)
    assert cut == (2 if prompt.startswith("Why? ") else 1)
    assert {len(text) for text in engine.asked if "It" in text} == {119}
