"""ABC's token credits: by hand, against transformers' own attention, and as a student's targets."""

import pytest
import torch

from good_words import good_words, quick
from tiny import tiny_lm, tiny_reward
from trimtab import errors
from trimtab.training.credit import credit_targets, token_credits
from trimtab.training.distil import train_from_teacher
from trimtab.training.labels import train_from_labels
from trimtab.training.recipe import DistilSettings

TRAIN, HELD_OUT = good_words(200), good_words(60, seed=1)


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama", seed=3)


def test_the_credits_by_hand():
    """β r a_t, and (1 − β) r more at the last token; they sum to r. What is not known gets nothing."""
    attention = torch.tensor([[0.5, 0.1, 0.4], [0.2, 0.2, 0.6]])
    known = torch.tensor([[False, True, True], [True, True, True]])
    found = token_credits(torch.tensor([[2.0], [-1.0]]), attention, known, 0.75)[..., 0]
    expected = [[0, 1.5 * 0.2, 1.5 * 0.8 + 0.5], [-0.75 * 0.2, -0.75 * 0.2, -0.75 * 0.6 - 0.25]]
    assert torch.allclose(found, torch.tensor(expected))
    assert torch.allclose(found.sum(1), torch.tensor([2.0, -1.0]))


def test_without_a_share_the_last_token_has_all():
    found = token_credits(torch.tensor([[2.0]]), torch.rand(1, 4), torch.ones(1, 4, dtype=torch.bool), 0.0)
    assert found[0, :, 0].tolist() == [0, 0, 0, 2.0]


@pytest.mark.parametrize("trunk", ["lora", "full", "frozen"])
def test_the_targets_are_the_teachers_reward_and_its_last_layers_attention(lm, trunk):
    """Each text alone, without padding, by transformers' eager attention."""
    teacher = tiny_reward(lm, "v", trunk)
    texts = [[5, 9, 12, 7], [33, 8], [20, 21, 22, 23, 24, 25]]
    found = credit_targets(teacher, lm, texts, 0.6, bf16=False)
    trunk_model = teacher.network.trunk
    before = trunk_model.config._attn_implementation
    trunk_model.set_attn_implementation("eager")
    try:
        for ids, target in zip(texts, found, strict=True):
            with torch.no_grad():
                read = trunk_model(torch.tensor([[lm.bos_token_id, *ids]]), output_attentions=True, use_cache=False)
            attention = read.attentions[-1][0, :, -1, 1:].double().mean(0)
            last = teacher.network.head.link(teacher.network.head(read.last_hidden_state[0, -1])).double()
            assert torch.allclose(teacher.score_ids([ids]).values[0, -1].double(), last, atol=1e-5)
            credits = 0.6 * last * (attention / attention.sum())[:, None]
            credits[-1] += 0.4 * last
            assert torch.allclose(target.observed.double(), credits.cumsum(0), atol=1e-4)
            assert torch.allclose(target.observed[-1].double(), last, atol=1e-4)
    finally:
        trunk_model.set_attn_implementation(before)
    assert teacher.network.trunk.config._attn_implementation == before


def test_a_student_of_credits_gives_good_words_more(lm):
    teacher = train_from_labels(lm, ["good"], TRAIN, HELD_OUT, quick(head="v"))
    settings = DistilSettings("delta", credit="attention")
    student = train_from_teacher(lm, teacher, TRAIN, HELD_OUT, quick(regulariser=0.1, epochs=6), settings)
    assert student.card.provenance["objective"] == "distil, credit by attention, share 0.65"
    assert (student.card.baseline, student.card.clamp) == (False, None)
    assert student.card.quality["auc:good"] > 0.9
    state = student.start()
    prompts = lm.batch([[20, 21]])
    state.prefill(prompts.ids, prompts.mask)
    good, bad = lm.tokenizer(["w2 w3 w4 w5", "w32 w33 w34 w35"], add_special_tokens=False)["input_ids"]
    rewards = state.rewards(torch.tensor([[*good, *bad]]))[0, :, 0]
    assert rewards[:4].mean() > rewards[4:].mean()


def test_what_has_no_credits_is_refused(lm):
    with pytest.raises(errors.InvalidSetting, match="expected target='delta'"):
        DistilSettings(credit="attention")
    with pytest.raises(errors.InvalidSetting, match="got credit_share=2"):
        DistilSettings("delta", credit="attention", credit_share=2.0)
    for teacher in (tiny_reward(lm, "q"), tiny_reward(lm, "q", "ladder")):
        with pytest.raises(errors.InvalidSetting, match="expected a reward of the student's"):
            train_from_teacher(
                lm, teacher, TRAIN[:4], HELD_OUT[:4], quick(), DistilSettings("delta", credit="attention")
            )
