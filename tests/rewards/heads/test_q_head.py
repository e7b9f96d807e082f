"""ARM's head against computations in float64, token by token."""

import pytest
import torch

from tiny import VOCABULARY, tiny_reward
from trimtab import errors, testing
from trimtab.models.kv_cache import KVCache
from trimtab.rewards.heads.q_head import HostedQState


def marginal_by_hand(head, embedding, hidden, token):
    """⟨U V_a h, e_v⟩ for each attribute, in float64."""
    scaled = embedding[token].double() / embedding.double().std()
    return [float((head.up.double() @ (down @ hidden.double())) @ scaled) for down in head.down.double()]


def test_the_marginal_and_the_baseline_equal_a_float64_computation(llama):
    head = tiny_reward(llama, "q").network.head
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    candidates = torch.tensor([[5, 17], [29, 5], [41, 63]])
    answers = head(hidden, candidates)
    baseline = hidden.double() @ head.baseline.weight.double().T + head.baseline.bias.double()
    for row in range(3):
        for column in range(2):
            marginal = marginal_by_hand(head, llama.output_embedding, hidden[row], candidates[row, column])
            expected = torch.tensor(marginal, dtype=torch.float64) + baseline[row]
            assert torch.allclose(answers[row, column].double(), expected, atol=1e-5)


def test_a_head_without_baseline_returns_the_marginal(llama):
    reward = tiny_reward(llama, "q", baseline=False)
    head = reward.network.head
    hidden = torch.randn(2, 32)
    assert torch.equal(head(hidden), head.marginal(hidden))
    assert head.prefix_value is None
    assert "returns differences" in repr(reward)


def test_the_penalty_equals_a_float64_computation_of_the_drawn_tokens(llama):
    head = tiny_reward(llama, "q").network.head
    before = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0))
    drawn = torch.randint(64, (2, 3), generator=torch.Generator().manual_seed(5))
    found = head.penalty(before, 64, torch.Generator().manual_seed(5))
    for row in range(2):
        for place in range(3):
            marginal = marginal_by_hand(head, llama.output_embedding, before[row, place], drawn[row, place])
            assert float(found[row, place]) == pytest.approx(sum(each**2 for each in marginal) / 2, rel=1e-4)


def test_candidates_equal_a_gather_from_the_vocabulary(frozen):
    testing.assert_candidates_equal_vocabulary(tiny_reward(frozen, "q"), [10, 20, 30], [5, 17, 29])


def test_an_id_past_the_vocabulary_counts_as_the_last_id(llama):
    head = tiny_reward(llama, "q").network.head
    scored = head.next_rewards(torch.randn(1, 32), torch.tensor([[VOCABULARY - 1, VOCABULARY, VOCABULARY + 9]]))
    assert torch.equal(scored[0, 0], scored[0, 1])
    assert torch.equal(scored[0, 0], scored[0, 2])


def test_a_rank_above_the_hidden_size_is_refused(llama):
    with pytest.raises(errors.InvalidSetting, match="got rank=33, expected at most the hidden size, 32"):
        tiny_reward(llama, "q", rank=33)


def fed_cache(lm, prompt, depth):
    """The steered model's cache behind a prompt."""
    host = KVCache(lm.model, [depth])
    batch = lm.batch([prompt])
    host.feed(batch.ids, batch.mask)
    return host


@torch.inference_mode()
def test_a_frozen_trunk_reads_the_steered_model_and_scores_the_same(llama):
    reward = tiny_reward(llama, "q", trunk="frozen", bos_token_id=None)
    host = fed_cache(llama, [10, 20, 30], reward.reads(llama.model))
    state = reward.start(host)
    assert isinstance(state, HostedQState)
    expected = testing.separate_rewards(reward, [10, 20, 30], [5, 17])
    assert torch.allclose(state.rewards(torch.tensor([[5, 17]]))[0], expected, atol=testing.TOLERANCE)
    assert not isinstance(tiny_reward(llama, "q", trunk="lora").start(host), HostedQState)


def test_many_candidates_are_scored_like_few_and_no_row_of_the_embedding_is_copied(llama, monkeypatch):
    """Top-p without top-k has the whole vocabulary, in the order of its probability, for candidates."""
    head = tiny_reward(llama, "q").network.head
    hidden, order = torch.randn(3, 32), torch.randperm(VOCABULARY).expand(3, -1)
    found, expected = head(hidden, order), head(hidden).gather(1, order[..., None].expand(-1, -1, 2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    (embedding,) = head._embedding
    head._embedding = (UnreadableRows(embedding),)
    torch.testing.assert_close(head(hidden, order), expected, atol=1e-5, rtol=1e-5)


class UnreadableRows:
    """A matrix of which only the whole is read."""

    def __init__(self, whole):
        self.whole, self.shape = whole, whole.shape

    def to(self, dtype):
        return self.whole.to(dtype)
