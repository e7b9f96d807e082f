"""Language models as a reward: the laws, log-ratios by transformers' own forward, what an expert may be, and names."""

import pytest
import torch

import trimtab
from byte_lm import byte_lm
from tiny import save_lm, tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.engines.base import Request
from trimtab.engines.processor import SteeringProcessor
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.draft_lm import LMProposer
from trimtab.engines.torch.engine import TorchEngine
from trimtab.engines.torch.guide import Guide
from trimtab.language_model import LanguageModel
from trimtab.models.frozen_lm import PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.rewards.expert_names import parse_experts
from trimtab.rewards.experts import Experts
from trimtab.rewards.load_experts import load_expert, load_experts
from trimtab.steering.rule import top_candidates

TOLERANCE = 1e-4  # of log-probabilities in float32, which are up to 30 nats here
PROMPT = [10, 20, 30, 40, 11, 21, 31]  # longer than the tiny Gemma's sliding window
PROMPTS = [PROMPT, [50, 51], [12, 13, 14, 15]]
CANDIDATES = [5, 17, 29, 41, 53]
TEXTS = ["w1 w2 w3", "w8", "w9 w10"]
OPTIONS = {"top_k": 5, "max_new_tokens": 3, "seed": 3}


@pytest.fixture(scope="module")
def kind():
    return tiny_lm("gemma3", seed=1)


@pytest.fixture(scope="module")
def toxic():
    return tiny_lm("gpt2", seed=2)


@pytest.fixture(scope="module")
def both(kind, toxic):
    return Experts(kind, toxic)


@pytest.fixture(scope="module", params=["both", "expert", "anti"])
def experts(request, kind, toxic):
    return Experts(None if request.param == "anti" else kind, None if request.param == "expert" else toxic)


def log_probs(lm, ids):
    """The log-probabilities of next tokens, by transformers' own forward and a softmax in float64."""
    return lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    """A language model's folder."""
    path = tmp_path_factory.mktemp("models") / "kind"
    save_lm(kind, path)
    return path


def test_rewards_are_log_ratios(kind, toxic):
    """Of the expert and the anti-expert, or of the one that there is."""
    state, asked = {}, torch.tensor([CANDIDATES])
    for name, pair in {"both": (kind, toxic), "expert": (kind, None), "anti": (None, toxic)}.items():
        state[name] = Experts(*pair).start()
        state[name].prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    of_kind, of_toxic = log_probs(kind, PROMPT)[CANDIDATES], log_probs(toxic, PROMPT)[CANDIDATES]
    expected = {"both": of_kind - of_toxic, "expert": of_kind, "anti": -of_toxic}
    for name, values in expected.items():
        assert torch.allclose(state[name].rewards(asked)[0, :, 0].double(), values, atol=TOLERANCE), name
    whole = state["both"].rewards(None)[0, :, 0].double()
    assert torch.allclose(whole, log_probs(kind, PROMPT) - log_probs(toxic, PROMPT), atol=TOLERANCE)


def test_the_steered_distribution_is_the_papers(lm, both, kind, toxic):
    """softmax(z + α (z⁺ − z⁻)) over the whole vocabulary (2105.03023, 2401.08565), from the models' own logits."""
    written = lm.generate(TEXTS[0], both.toward(1.5), top_k=None, max_new_tokens=1, seed=0)
    ids = lm.engine.codec.encode_prompt(TEXTS[0])
    z, plus, minus = (
        each.model(input_ids=torch.tensor([ids])).logits[0, -1].double() for each in (lm.base, kind, toxic)
    )
    expected = (z + 1.5 * (plus - minus)).log_softmax(-1)
    choice = written.trace[0].choice
    assert torch.allclose(choice.steered_logprobs.double(), expected[choice.candidates], atol=1e-3)


def test_a_cached_state_equals_forwards_over_the_whole_text(experts):
    testing.assert_cached_equals_recomputed(experts, PROMPT, [5, 44, 29, 6], CANDIDATES, TOLERANCE)
    testing.assert_accepted_column_equals_fed(experts, PROMPT, CANDIDATES, TOLERANCE)


def test_rows_have_texts_of_their_own(experts):
    testing.assert_batched_equals_single(experts, PROMPTS, CANDIDATES, TOLERANCE)
    testing.assert_padding_changes_nothing(experts, PROMPT, CANDIDATES, tolerance=TOLERANCE)
    testing.assert_forks_are_independent(experts, PROMPTS, CANDIDATES, TOLERANCE)
    testing.assert_joined_states_equal_separate(experts, PROMPTS[:2], PROMPTS[2:], CANDIDATES, TOLERANCE)
    testing.assert_candidates_equal_vocabulary(experts, PROMPT, CANDIDATES, TOLERANCE)


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:1]])
def test_rollback_then_replay_equals_a_fresh_state(experts, prompt):
    testing.assert_rollback_replays(experts, prompt, [5, 44, 29], [9, 8], CANDIDATES, TOLERANCE)
    state = experts.start()
    state.prefill(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.bool))
    with pytest.raises(errors.InvalidSetting, match="shortest"):
        state.rollback(len(prompt))


def test_the_laws_of_texts_hold(lm, both):
    testing.assert_zero_beta_is_plain(lm, both, TEXTS, **OPTIONS)
    testing.assert_halves_add_up(lm, both, 1.0, TEXTS, **OPTIONS)
    testing.assert_constant_changes_nothing(lm, both, 1.0, TEXTS, **OPTIONS)
    testing.assert_seeded_ignores_batch(lm, [both.toward(2.0), None, both.away(1.0)], TEXTS, **OPTIONS)


def test_rows_may_join_and_leave_a_running_batch(lm, both):
    params = SamplingParams(**OPTIONS)
    requests = [Request(lm.engine.codec.encode_prompt(text), params, both.toward(1.0)) for text in TEXTS]
    testing.assert_joining_changes_nothing(lm.engine, requests, steps_before=2)


def test_inside_transformers_generate(lm, both):
    """The processor writes what our own loop writes, greedily."""
    steer, tokenizer = both.toward(1.0), lm.tokenizer
    ids = tokenizer(TEXTS[:1], return_tensors="pt", return_token_type_ids=False)
    processor = SteeringProcessor(steer, top_k=6, tokenizer=tokenizer)
    written = lm.model.generate(**ids, max_new_tokens=6, do_sample=False, logits_processor=[processor])
    ours = lm.generate(TEXTS[0], steer, top_k=6, max_new_tokens=6, temperature=0.0)
    assert written[0, ids["input_ids"].shape[1] :].tolist() == ours.token_ids


def test_a_step_costs_one_token_of_each_expert(both, kind):
    usage = Usage()
    state = both.start(KVCache(kind.model, prefix_cache=PrefixCache(), usage=usage))
    state.prefill(torch.tensor([PROMPT]), torch.ones(1, len(PROMPT), dtype=torch.bool))
    assert (usage.tokens, usage.calls) == (2 * len(PROMPT), 2)
    for _ in range(3):
        state.rewards(torch.tensor([CANDIDATES]))
        state.advance(torch.tensor([5]))
    assert (usage.tokens, usage.calls) == (2 * (len(PROMPT) + 3), 8)


def test_a_reward_with_an_lm_head_is_an_expert(kind, toxic):
    """Its own log-probability, BOS before the text, takes the place of the model's."""
    genarm = tiny_reward(kind, "lm", attributes=("preferred",), clamp=None, baseline=False)
    experts = Experts(genarm, toxic)
    assert experts.extra_tokens == 1
    testing.assert_cached_equals_recomputed(experts, PROMPT, [5, 44], CANDIDATES, TOLERANCE)
    with pytest.raises(errors.InvalidSetting, match=r"with a 'q' head as an expert.* trimtab train genarm"):
        Experts(tiny_reward(kind, "q"))


def test_padded_vocabularies_may_differ():
    """An id past an expert's vocabulary counts as its last one, whether it is asked for or the whole vocabulary is."""
    lm = byte_lm("llama", [("w", "1")])
    narrow = byte_lm("llama", [("w", "1")], seed=1)
    narrow.model.resize_token_embeddings(lm.vocabulary_size - 3)
    steer, ids = Experts(narrow).toward(1.0), torch.tensor([[10, 11, 12]])
    guide = Guide([steer], lm.device)
    guide.prefill(PromptBatch(ids, torch.ones_like(ids, dtype=torch.bool)))
    logits = torch.zeros(1, lm.vocabulary_size)
    tables = [guide.steer(top_candidates(logits, k, None), logits)[1] for k in (None, lm.vocabulary_size - 1)]
    (whole,), (some,) = (table.values() for table in tables)
    expected = log_probs(narrow, ids[0].tolist())
    expected = torch.cat([expected, expected[-1:].expand(3)])
    assert torch.allclose(whole[0].double(), expected, atol=TOLERANCE)
    asked = top_candidates(logits, lm.vocabulary_size - 1, None).ids[0]
    assert torch.allclose(some[0].double(), expected[asked], atol=TOLERANCE)


def test_one_model_that_was_loaded_twice_is_no_pair_of_experts(llama):
    with pytest.raises(errors.InvalidSetting, match="expected two of different weights"):
        Experts(tiny_lm("llama", seed=7), tiny_lm("llama", seed=7))


def test_experts_are_loaded_by_name(folder, llama, lm, toxic):
    with pytest.raises(errors.InvalidSetting, match="one takes back what it gives"):
        load_experts(f"experts:{folder},{folder}", llama)
    with pytest.raises(errors.InvalidSetting, match="one model as the expert and the anti-expert"):
        trimtab.experts(lm, lm, lm)
    named = trimtab.experts(folder, LanguageModel(TorchEngine(toxic)), lm)
    asked = lm.generate(TEXTS, named.toward(1.0), **OPTIONS)
    state = Experts(tiny_lm("gemma3", seed=1), toxic)
    assert [each.text for each in asked] == [each.text for each in lm.generate(TEXTS, state.toward(1.0), **OPTIONS)]
    assert named.describe() == {"reward": "experts(kind,tiny-gpt2)", "source": named.source} | {
        "fingerprint": state.fingerprint
    }


def test_an_adapter_of_the_steered_model_is_an_expert(llama, lm, tmp_path):
    """Its weights are those of peft's own model; the steered model does not change."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(4)
    original = tiny_lm("llama")
    adapted = get_peft_model(
        original.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    before = log_probs(llama, PROMPT)
    expert = load_expert(str(tmp_path / "adapter"), llama)
    assert torch.allclose(log_probs(expert, PROMPT), log_probs(original, PROMPT), atol=TOLERANCE)
    assert torch.equal(log_probs(llama, PROMPT), before)
    assert not torch.allclose(log_probs(expert, PROMPT), before, atol=0.01)
    assert expert.output_embedding.data_ptr() == llama.output_embedding.data_ptr()
    assert lm.generate("w1", trimtab.experts(tmp_path / "adapter", lm=lm).toward(1.0), **OPTIONS).text
    with pytest.raises(errors.InvalidSetting, match=r"expected lm=, the model to steer"):
        load_expert(str(tmp_path / "adapter"))
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(errors.InvalidSetting, match=r"expected adapter_model.safetensors"):
        load_expert(str(tmp_path / "adapter"), llama)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("experts:models/kind,models/toxic", ("models/kind", "models/toxic")),
        ("experts:kind", ("kind", None)),
        ("experts:kind,", ("kind", None)),
        ("experts:,toxic", (None, "toxic")),
    ],
)
def test_names_are_read(text, names):
    found = parse_experts(text)
    assert (found.expert, found.anti) == names
    assert parse_experts(found.text) == found


@pytest.mark.parametrize("text", ["experts:", "experts:,", "experts:a,b,c", "kind"])
def test_other_names_are_refused(text):
    with pytest.raises(errors.InvalidSetting, match="expected experts:EXPERT,ANTI"):
        parse_experts(text)


def test_misfits_are_refused(both, kind, lm):
    with pytest.raises(errors.InvalidSetting, match="neither an expert nor an anti-expert"):
        trimtab.experts()
    with pytest.raises(errors.RewardMismatch, match="models of one family"):
        Experts(kind, byte_lm("llama", []))
    with pytest.raises(errors.RewardMismatch, match="models of one family"):
        LanguageModel(TorchEngine(byte_lm("llama", []))).generate("w1", both.toward(1.0))
    with pytest.raises(errors.InvalidSetting, match="expected 'expert' or none"):
        both.toward(1.0, "kind")
    with pytest.raises(errors.InvalidSetting, match="scores one token at a time"):
        lm.best_of("w1", 2, by=both)


def test_models_on_two_devices_are_refused(llama):
    elsewhere = tiny_lm("llama", seed=1)
    elsewhere.model.to("meta")
    with pytest.raises(errors.InvalidSetting, match="got models on meta and on cpu, expected one device for both"):
        Experts(elsewhere).start(KVCache(llama.model))
    with pytest.raises(errors.InvalidSetting, match="got models on meta and on cpu, expected one device for both"):
        LMProposer(elsewhere, llama)


def test_an_adapter_that_learns_a_prompt_is_refused(llama, tmp_path):
    """It is no part of the layers, so the expert would be the model itself."""
    from peft import PromptTuningConfig, get_peft_model

    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(tiny_lm("llama").model, settings).save_pretrained(tmp_path / "adapter")
    with pytest.raises(errors.InvalidSetting, match="learns a prompt"):
        load_expert(str(tmp_path / "adapter"), llama)
