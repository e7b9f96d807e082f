"""The laws on a tiny random model of each family of decoders."""

import pytest
import torch

from families import MORE, SETTINGS, tiny_family
from tiny import tiny_reward
from trimtab import testing
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.kv_cache import KVCache
from trimtab.models.side_network import LAST

PROMPT = [10, 20, 30, 40, 11, 21, 31]  # longer than the windows and the chunks
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
TEXTS = ["w1 w2 w3 w4 w5 w6 w7", "w8", "w9 w10 w11"]
CANDIDATES = [5, 17]
SEEDED = ["gemma3_text", "gpt_oss", "llama4_text"]  # windows, sinks and chunks


@pytest.fixture(scope="module", params=[*SETTINGS, *MORE])
def family(request):
    return tiny_family(request.param)


@pytest.fixture(scope="module")
def family_lm(family):
    return LanguageModel(TorchEngine(family))


@torch.inference_mode()
def test_rows_that_join_leave_and_roll_back_have_the_states_of_each_text_alone(family):
    """Padded rows, a row that joins, candidates, a fork and a rollback, against forward calls over whole texts."""
    cache, other = KVCache(family.model, [2, LAST]), KVCache(family.model, [2, LAST])
    for each, prompts in ((cache, PROMPTS[:2]), (other, [[*PROMPT, 9, 8]])):
        batch = family.batch(prompts)
        each.feed(batch.ids, batch.mask)
    cache.join(other)
    cache.propose(torch.tensor([[5, 6], [7, 8], [9, 10]]))
    cache.accept(torch.tensor([1, 0, 1]))
    cache.feed(torch.tensor([[20], [21], [22]]))
    cache.select(torch.tensor([2, 0, 1, 2]))
    cache.rollback(2)
    logits = cache.feed(torch.tensor([[30], [31], [32], [33]])).logits[:, -1]
    texts = [[*PROMPT, 9, 8, 30], [*PROMPT, 31], [50, 51, 32], [*PROMPT, 9, 8, 33]]
    for row, text in enumerate(texts):
        whole = family.model(torch.tensor([text]), use_cache=False, output_hidden_states=True)
        found = [logits[row], cache.hidden(2)[row], cache.hidden(LAST)[row]]
        expected = [whole.logits[0, -1], whole.hidden_states[2][0, -1], whole.hidden_states[-1][0, -1]]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_prefix_cache_changes_nothing(family):
    testing.assert_prefix_cache_changes_nothing(family, PROMPTS)


def test_packed_texts_equal_texts_alone(family):
    texts = [PROMPT, [*PROMPT[:5], 9, 8, 7, 3], PROMPTS[2]]
    testing.assert_packed_equals_alone(family, texts, [2, 3, 1])


def test_greedy_equals_transformers(family_lm):
    testing.assert_greedy_equals_transformers(family_lm, TEXTS[:2], 8)


@pytest.mark.parametrize(("trunk", "layers"), [("frozen", 3), ("ladder", 2)])
def test_a_reward_on_the_model_s_own_states_equals_separate_forwards(family, trunk, layers):
    own = tiny_reward(family, "q", trunk, layers=layers, bos_token_id=None)
    testing.assert_hosted_equals_separate(own, PROMPTS[:2], [5, 44], CANDIDATES)


@pytest.mark.parametrize("family", SETTINGS, indirect=True)
def test_a_reward_on_a_state_below_the_top_has_the_final_norm(family):
    own = tiny_reward(family, "q", "frozen", layers=2, bos_token_id=None)
    testing.assert_hosted_equals_separate(own, PROMPTS[:2], [5], CANDIDATES)


@pytest.mark.parametrize("family", SETTINGS, indirect=True)
def test_a_q_head_on_adapters_keeps_the_laws(family):
    reward = tiny_reward(family, "q", "lora")
    testing.assert_joined_states_equal_separate(reward, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_rollback_replays(reward, PROMPT, [5, 44], [9], CANDIDATES)


def test_a_v_head_on_adapters_keeps_the_laws(family, tmp_path):
    """Padding, batches, candidates, rollback, forks, rows that join and a saved reward, on the first two layers."""
    reward = tiny_reward(family, "v", "lora")
    testing.assert_joined_states_equal_separate(reward, PROMPTS[:2], PROMPTS[2:], CANDIDATES)
    testing.assert_rollback_replays(reward, PROMPT, [5, 44], [9], CANDIDATES)
    testing.assert_forks_are_independent(reward, PROMPTS[1:], [*CANDIDATES, 29])
    testing.assert_accepted_column_equals_fed(reward, PROMPT, CANDIDATES[1:2])
    testing.assert_save_load_identical(reward, family, PROMPT, tmp_path / "reward")


@pytest.mark.parametrize("family", SEEDED, indirect=True)
def test_seeded_texts_ignore_their_batch(family, family_lm):
    own = tiny_reward(family, "q", "frozen", layers=3, bos_token_id=None)
    ladder = tiny_reward(family, "q", "ladder", layers=3, bos_token_id=None)
    value = tiny_reward(family, "v", "frozen")
    steers = [own.toward(3.0), None, value.toward(2.0) + ladder.away(1.0, "calm")]
    testing.assert_seeded_ignores_batch(family_lm, steers, TEXTS, top_k=4, max_new_tokens=5, seed=3)
