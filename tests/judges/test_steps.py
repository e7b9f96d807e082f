"""Step rewards, by hand-computed values."""

import math

import pytest

from byte_lm import byte_lm
from tiny_spaces import space_dropping_tokenizer
from trimtab import errors
from trimtab.engines.torch.engine import TorchEngine
from trimtab.judges.base import description_of, threshold_of
from trimtab.judges.draft import Draft
from trimtab.judges.notation import judge_from_text, parse_judge
from trimtab.judges.step_scores import AGGREGATES, step_ends
from trimtab.judges.steps import StepJudge, token_ends
from trimtab.judges.text_judges import FunctionJudge, TextJudge
from trimtab.models.codec import TokenizerCodec
from trimtab.rewind.rewind_settings import RewindSettings
from trimtab.testing.scripted_engine import WordCodec

TEXT = 'Good start. "It is bad!" Really? The end'
SCORES = [0.8, 0.2, 0.5, 1.0]  # of the text up to each of its four sentences


def draft(text):
    return Draft("p", (1,), (), text)


def by_length(texts):
    """The score of each prefix of TEXT."""
    ends = [11, 24, 32, 40]
    return [SCORES[ends.index(len(text))] for text in texts]


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        (TEXT, "sentences", ["Good start.", ' "It is bad!"', " Really?", " The end"]),
        ("One.\n\nTwo...  Three 3.5 pies?!", "sentences", ["One.", "\n\nTwo...", "  Three 3.5 pies?!"]),
        ("a = 1.\n\nb = 2\n", "lines", ["a = 1.\n", "\nb = 2\n"]),
        ("no end", "lines", ["no end"]),
        ("", "sentences", [""]),
    ],
)
def test_steps_are_cut_at_their_ends(text, steps, expected):
    ends = step_ends(text, steps)
    assert [text[start:end] for start, end in zip([0, *ends], ends, strict=False)] == expected


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("min", 0.2),
        ("mean", 0.625),
        ("product", 0.08),
        ("log-sum", 1 / (1 - math.log(0.08))),
        ("last", 1.0),
        (lambda scores: max(scores) - min(scores[1:], default=0.0), 0.8),
    ],
)
def test_scores_are_aggregated(aggregate, expected):
    judge = StepJudge(TextJudge("length", by_length), aggregate)
    assert judge.score([draft(TEXT), draft("Good start.")], None) == pytest.approx(
        [expected, 1 / (1 - math.log(0.8)) if aggregate == "log-sum" else 0.8]
    )


def test_the_log_sum_orders_as_the_product_without_underflow():
    few, many = [1e-9] * 40, [1e-9] * 41
    assert AGGREGATES["product"](few) == AGGREGATES["product"](many) == 0.0
    assert AGGREGATES["log-sum"](few) > AGGREGATES["log-sum"](many) > 0.0
    assert AGGREGATES["log-sum"]([0.5, 0.0]) == 0.0


def test_each_step_has_the_tokens_that_reach_its_end():
    """A merged token that goes on behind the end of a step belongs to it."""
    engine = TorchEngine(byte_lm("llama", [(".", "Ġ"), ("b", "c")]))
    encode = engine.codec.encode_text
    whole = Draft("p", (1,), tuple(encode("Ab. bc! É")), "Ab. bc! É", ("tail",), (1,))
    steps = StepJudge(TextJudge("length", by_length)).steps_of(whole, engine)
    assert [step.text for step in steps] == ["Ab.", "Ab. bc!", "Ab. bc! É"]
    assert [step.token_ids for step in steps] == [tuple(encode(text)) for text in ("Ab. ", "Ab. bc!", "Ab. bc! É")]
    assert steps[-1] is whole
    assert steps[0].tails == ()


def test_it_ranks_drafts_and_judges_a_search(lm):
    """As the judge of whole texts does, since these texts have one step."""

    def short(prompt, text):
        return 1 / (1 + len(text))

    plain, steps = FunctionJudge(short), StepJudge(FunctionJudge(short), "mean")
    options = {"max_new_tokens": 4, "seed": 1}
    by_judge, by_steps = (lm.best_of("w1 w2", 4, by=judge, **options) for judge in (plain, steps))
    drafts = lm.generate("w1 w2", n=4, **options).samples
    assert by_judge.text == min(drafts, key=lambda each: len(each.text)).text
    assert list(by_judge.scores) == pytest.approx(sorted((short("", each.text) for each in drafts), reverse=True))
    assert [each.text for each in by_steps.drafts] == [each.text for each in by_judge.drafts]
    assert by_steps.by[0]["aggregate"] == "mean"
    settings = RewindSettings(max_new_tokens=3, iterations=2, fresh_iterations=1, children=2, max_children=3)
    searched = [lm.rewind("w1 w2", judge, settings=settings, seed=1).text for judge in (plain, steps)]
    assert searched[0] == searched[1]


def test_a_name_says_the_steps_and_the_aggregate():
    typed = parse_judge("sentences:min:vader=+1")
    assert (typed.name, typed.sign, typed.steps) == ("vader", 1, ("sentences", "min"))
    assert parse_judge("lines:mean:self").steps == ("lines", "mean")
    judge = judge_from_text("lines:product:vader=+1")
    assert description_of(judge)["steps"] == "lines"
    assert judge.name == "lines:product:vader"
    good, bad = judge.score([draft("I love it.\nGreat!"), draft("I love it.\nI hate it, awful!")], None)
    assert good > bad


def test_the_threshold_is_that_of_the_judge_of_steps():
    assert threshold_of(StepJudge(TextJudge("x", by_length, threshold=0.3))) == 0.3


@pytest.mark.parametrize("text", ["sentences:median:self", "sentences:min:", "lines:min", "lines::self"])
def test_other_names_are_refused(text):
    with pytest.raises(errors.InvalidSetting, match="expected"):
        parse_judge(text)


def test_misfits_are_refused():
    with pytest.raises(errors.InvalidSetting, match="expected sentences or lines"):
        StepJudge(TextJudge("length", by_length), steps="words")
    with pytest.raises(errors.InvalidData, match="expected a number from 0"):
        StepJudge(TextJudge("length", by_length), sum).score([draft(TEXT)], None)


def test_steps_have_their_tokens_where_a_stop_string_begins_inside_a_token():
    """The text ends in the middle of the third token, which is not among the draft's."""
    codec = WordCodec(["go.", "on.x", "end"])
    draft = Draft("go.", (1,), (1, 1), " go. go. on")
    assert token_ends(draft, codec) == [4, 8]


def test_steps_of_a_given_text_have_their_tokens_where_its_first_space_is_dropped():
    codec = TokenizerCodec(space_dropping_tokenizer(), "tiny", 64, {1})
    ids = tuple(codec.encode_text("the cat sat"))
    assert token_ends(Draft("", (), ids, "the cat sat"), codec) == [3, 7, 11]
    assert token_ends(Draft("", (), ids, " the cat sat"), codec) == [4, 8, 12]
