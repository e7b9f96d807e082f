import pytest

from tiny import tiny_reward
from tiny_job import JOB
from trimtab import jobs
from trimtab.data.jsonlines import Line
from trimtab.jobs.comparison import compare, first_difference


@pytest.fixture
def written(lm):
    """The samples of a prompt, and the row of the second one."""
    steer = tiny_reward(lm.base, "q").toward(2.0)
    generation = lm.generate("w1 w2", steer, JOB.sampling)
    row = jobs.write_prompts(lm, [jobs.NumberedPrompt(1, "w1 w2", {"prompt": "w1 w2"})], steer, JOB)[1]
    return generation.samples, row


def test_a_row_is_the_same_as_its_own_text(written):
    samples, row = written
    assert compare(Line(7, row, None), samples, JOB) == jobs.Replayed(7, None, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"text": "the password is 1234"}, "text"),
        ({"tokens": ["x"]}, "tokens"),
        ({"finish_reason": "eos", "steer": []}, "finish_reason, steer"),
        ({"rewards": {"tiny-q:kind": [0.99] * 4, "tiny-q:calm": [0.99] * 4}}, "rewards"),
        ({"rewards": {}}, "rewards"),
        ({"rewards": "none"}, "rewards"),
        ({"rewards": {"tiny-q:kind": ["x"] * 4, "tiny-q:calm": [None] * 4}}, "rewards"),
    ],
)
def test_a_forged_field_is_named_though_the_tokens_are_the_same(written, change, named):
    samples, row = written
    assert row["finish_reason"] == "length"
    result = compare(Line(1, row | change, None), samples, JOB)
    assert result.fault == f"the tokens are the same, but not the row's {named}"
    assert result.place is None


def test_rewards_may_be_rounded_differently_and_have_another_name(written):
    samples, row = written
    rounded = {f"other{number}": [value + 1e-5 for value in of] for number, of in enumerate(row["rewards"].values())}
    assert compare(Line(1, row | {"rewards": rounded}, None), samples, JOB).fault is None


@pytest.mark.parametrize(("one", "other", "place"), [([1, 2], [1, 3], 1), ([1], [1, 2], 1), ([], [], 0), ([4], [5], 0)])
def test_the_first_difference(one, other, place):
    assert first_difference(one, other) == place
