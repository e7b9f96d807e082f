"""A text teacher's rewards in a student's tokens, against one forward for each decoded text."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byte_lm import byte_lm
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.training.target import left_out
from trimtab.training.text_targets import text_targets
from trimtab.training.text_teacher import RewardTeacher

TEXTS = ["w1 w22 w5", "so w3", "héllo w7 w7 w8", "日本 w4", "x"]
UNKNOWN = "\ufffd"


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3"])
def teacher(request):
    """A random V-head on a byte tokenizer of its own: it has a score for every text."""
    return tiny_reward(byte_lm(request.param, merges=[("w", "1"), ("w", "2"), ("Ġ", "w"), ("s", "o")]), "v")


@pytest.fixture(scope="module")
def base():
    """The student's base, whose tokens cut texts at other places."""
    return byte_lm("qwen2", merges=[("Ġ", "w"), ("Ġw", "7"), ("2", "2"), ("l", "l"), ("o", "Ġ")], seed=4)


def alone(teacher, text: str) -> torch.Tensor:
    """The score of one text, by one forward of its own tokens."""
    ids = teacher.base.tokenizer(text, add_special_tokens=False)["input_ids"]
    return teacher.score_ids([ids]).values[0, -1]


def likely(base, ids: list[int], place: int, k: int) -> list[int]:
    opening = [base.bos_token_id] if base.prepends_bos or not place else []
    return base.model(torch.tensor([[*opening, *ids[:place]]])).logits[0, -1].topk(k).indices.tolist()


@pytest.mark.parametrize("positions", [None, 2])
def test_every_reward_equals_a_forward_of_the_decoded_text(teacher, base, positions):
    texts = [base.codec.encode_text(text) for text in TEXTS]
    targets = list(text_targets(RewardTeacher(teacher), base, texts, 5, positions))
    unscored = 0
    for ids, target in zip(texts, targets, strict=True):
        assert len(target.places) == (len(ids) if positions is None else min(positions, len(ids)))
        for end in range(len(ids)):
            text = base.tokenizer.decode(ids[: end + 1])
            assert bool(target.known[end]) == (UNKNOWN not in text)
            unscored += UNKNOWN in text
            if target.known[end]:
                assert torch.allclose(target.observed[end], alone(teacher, text), atol=1e-5)
        for row, place in enumerate(target.places.tolist()):
            assert target.candidates[row].tolist() == likely(base, ids, place, 5)
            for column, token in enumerate(target.candidates[row].tolist()):
                text = base.tokenizer.decode([*ids[:place], token], skip_special_tokens=True)
                found = target.rewards[row, column]
                if not text or UNKNOWN in text or token >= len(base.tokenizer):
                    assert not target.scored[row, column]
                    assert not found.any()
                    unscored += 1
                else:
                    assert target.scored[row, column]
                    assert torch.allclose(found, alone(teacher, text), atol=1e-5)
    assert left_out(targets) == unscored > 0


def test_of_an_answer_the_base_reads_the_context_and_the_teacher_does_not(teacher, base):
    context, answer = base.codec.encode_text("so w1"), base.codec.encode_text("w1 so w1")
    (target,) = text_targets(RewardTeacher(teacher), base, [[*context, *answer]], 5, None, [len(context)])
    (alone_target,) = text_targets(RewardTeacher(teacher), base, [answer], 5, None)
    first = len(context)
    assert target.known.tolist() == [False] * first + alone_target.known.tolist()
    assert torch.allclose(target.observed[first:], alone_target.observed, atol=1e-5)
    assert target.places.tolist() == [first + place for place in range(len(answer))]
    for row, place in enumerate(target.places.tolist()):
        logits = base.model(torch.tensor([[*context, *answer[: place - first]]])).logits[0, -1]
        assert target.candidates[row].tolist() == logits.topk(5).indices.tolist()
        for column, token in enumerate(target.candidates[row].tolist()):
            text = base.tokenizer.decode([*answer[: place - first], token], skip_special_tokens=True)
            if target.scored[row, column]:
                assert torch.allclose(target.rewards[row, column], alone(teacher, text), atol=1e-5)
    assert left_out([target], [first]) == int((~target.scored).sum()) + int((~target.known[first:]).sum())


def test_a_special_token_behind_a_text_has_the_reward_of_the_text(teacher, base, monkeypatch):
    """EOS and BOS have no text; behind nothing, they have no reward."""
    monkeypatch.setattr(
        "trimtab.training.text_targets.likely_tokens",
        lambda base, prefixes, k: torch.tensor([[base.tokenizer.eos_token_id, base.bos_token_id]] * len(prefixes)),
    )
    (target,) = text_targets(RewardTeacher(teacher), base, [base.codec.encode_text("w1 so")], 2, None)
    assert not target.scored[0].any()
    assert target.scored[1:].all()
    for place in range(1, len(target.known)):
        assert torch.allclose(target.rewards[place], target.observed[place - 1].expand(2, -1), atol=1e-6)


def test_a_row_of_the_embedding_that_is_no_token_has_no_reward(teacher, base, monkeypatch):
    spare = len(base.tokenizer)
    monkeypatch.setattr(
        "trimtab.training.text_targets.likely_tokens",
        lambda base, prefixes, k: torch.tensor([[spare]] * len(prefixes)),
    )
    (target,) = text_targets(RewardTeacher(teacher), base, [base.codec.encode_text("w1")], 1, None)
    assert not target.scored.any()


def test_no_candidates_leave_the_prefixes_alone(teacher, base):
    (target,) = text_targets(RewardTeacher(teacher), base, [base.codec.encode_text("w1 so")], 0, None)
    assert target.candidates.shape[0] == target.rewards.shape[0] == len(target.places) == 0
    assert target.known.all()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.sampled_from("w12 so7hé日"), min_size=1, max_size=12), min_size=1, max_size=12))
def test_texts_that_share_beginnings_score_as_they_do_alone(teacher, texts):
    found = RewardTeacher(teacher).score(texts)
    for row, text in zip(found, texts, strict=True):
        assert torch.allclose(row, alone(teacher, text), atol=1e-4)  # packed texts add up in another order


def test_a_text_beyond_the_teachers_context_is_refused(teacher, base):
    with pytest.raises(errors.InvalidPrompt, match="expected 1 to"):
        RewardTeacher(teacher).score(["x y " * 60])


def test_a_teacher_of_texts_needs_a_v_head():
    with pytest.raises(errors.InvalidSetting, match="got the reward 'tiny-q' with a 'q' head"):
        RewardTeacher(tiny_reward(tiny_lm("llama"), "q"))


def test_a_score_that_is_not_finite_is_refused(base):
    reward = tiny_reward(byte_lm("llama", merges=[]), "v")
    reward.network.head.value.bias.data[1] = float("inf")
    with pytest.raises(errors.NonFiniteReward, match="'tiny-v' gives a reward that is not finite"):
        list(text_targets(RewardTeacher(reward), base, [base.codec.encode_text("w1")], 1, None))
