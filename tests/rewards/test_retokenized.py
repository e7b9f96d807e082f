"""A V-head of another tokenizer steers at once: the laws, texts that cannot be decoded, and what is encoded anew."""

import pytest
import torch

from byte_lm import byte_lm
from tiny import tiny_lm, tiny_reward
from trimtab import errors, testing
from trimtab.engines.base import Request
from trimtab.engines.processor import SteeringProcessor
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.engine import TorchEngine
from trimtab.language_model import LanguageModel
from trimtab.models.kv_cache import KVCache
from trimtab.models.prefix_cache import PrefixCache
from trimtab.models.usage import Usage
from trimtab.rewards.retokenized import RetokenizedReward
from trimtab.rewind.rewind_settings import RewindSettings

TOLERANCE = 1e-5
OPTIONS = {"top_k": 5, "max_new_tokens": 5, "seed": 3}
TEXTS = ["w1 w2 w3", "w8", "w9 w10"]
MERGES = [("w", "1"), ("Ġ", "w"), ("Ġw", "3"), ("1", "1"), ("1", "Ġw")]


def words_to_bytes():
    return RetokenizedReward(tiny_reward(byte_lm("gemma3", MERGES), "v"), tiny_lm("llama"))


def bytes_to_bytes():
    original = tiny_reward(byte_lm("gpt2", MERGES), "v", bos_token_id=None)
    return RetokenizedReward(original, byte_lm("qwen2", [("w", "2"), ("2", "Ġ")]))


@pytest.fixture(scope="module", params=[words_to_bytes, bytes_to_bytes])
def foreign(request):
    """A reward on a tokenizer that cuts texts in other places than the language model's."""
    return request.param()


@pytest.fixture(scope="module")
def steering():
    """One of them, for whole texts."""
    return bytes_to_bytes()


@pytest.fixture(scope="module")
def lm(steering):
    return LanguageModel(TorchEngine(steering.lm))


@pytest.fixture(scope="module")
def candidates(foreign):
    """Likely tokens, EOS, BOS, and a row of the embedding that is no token."""
    return [*foreign.lm.codec.encode_text("w11 w3")[:2], 2, 1, foreign.lm.vocabulary_size - 1]


@pytest.fixture(scope="module")
def prompts(foreign):
    return [foreign.lm.codec.encode_text(text) for text in ("w1 w2 w11", "w3", "w1 w23")]


def test_a_cached_state_equals_forwards_over_the_whole_text(foreign, prompts, candidates):
    continuation = foreign.lm.codec.encode_text("w1 w11 w3")
    testing.assert_cached_equals_recomputed(foreign, prompts[0], continuation, candidates, TOLERANCE)
    testing.assert_accepted_column_equals_fed(foreign, prompts[0], candidates, TOLERANCE)


def test_rows_have_texts_of_their_own(foreign, prompts, candidates):
    testing.assert_batched_equals_single(foreign, prompts, candidates, TOLERANCE)
    testing.assert_padding_changes_nothing(foreign, prompts[0], candidates, tolerance=TOLERANCE)
    testing.assert_forks_are_independent(foreign, prompts, candidates, TOLERANCE)
    testing.assert_joined_states_equal_separate(foreign, prompts[:2], prompts[2:], candidates, TOLERANCE)


def test_rollback_then_replay_equals_a_fresh_state(foreign, prompts, candidates):
    testing.assert_rollback_replays(foreign, prompts[0], candidates[:4], candidates[:2], candidates, TOLERANCE)
    state = foreign.start()
    state.prefill(torch.tensor([prompts[0][:2]]), torch.tensor([[True, True]]))
    with pytest.raises(errors.InvalidSetting, match="shortest"):
        state.rollback(2)


def test_the_laws_of_texts_hold(steering, lm):
    testing.assert_zero_beta_is_plain(lm, steering, TEXTS, **OPTIONS)
    testing.assert_halves_add_up(lm, steering, 3.0, TEXTS, **OPTIONS)
    testing.assert_constant_changes_nothing(lm, steering, 2.0, TEXTS, **OPTIONS)
    steers = [steering.toward(3.0), None, steering.away(2.0, "calm") + steering.toward(1.0)]
    testing.assert_seeded_ignores_batch(lm, steers, TEXTS, **OPTIONS)


def test_a_trace_holds_the_scores_of_the_texts(steering, lm):
    """Each candidate's reward is the score of the prompt, the tokens before it and itself, as the reward reads text."""
    prompt, codec = TEXTS[0], steering.lm.codec
    written = lm.generate(prompt, steering.toward(5.0), **OPTIONS)
    ids = codec.encode_prompt(prompt)
    for token in written.trace:
        for candidate, reward in zip(
            token.choice.candidates.tolist(), token.choice.rewards["tiny-v:kind"], strict=True
        ):
            text = codec.decode([*ids, candidate]).rstrip("\ufffd")
            assert float(reward) == pytest.approx(float(steering.original.score(text)[0, 0]), abs=TOLERANCE)
        ids.append(token.token_id)


def test_half_a_character_is_no_text_until_it_is_whole():
    """Ⅷ has three bytes; the bytes of one that never comes are part of the text as soon as other text follows."""
    foreign = RetokenizedReward(tiny_reward(byte_lm("gpt2", MERGES), "v"), byte_lm("llama", []))
    first, second, third = foreign.lm.codec.encode_text("Ⅷ")
    (letter,) = foreign.lm.codec.encode_text("a")
    state = foreign.start()
    state.prefill(torch.tensor([[letter]]), torch.tensor([[True]]))

    def assert_scores(candidates, texts):
        found = state.rewards(torch.tensor([candidates]))[0]
        assert torch.allclose(found, foreign.original.score(texts), atol=TOLERANCE)

    assert_scores([first, letter], ["a", "aa"])
    state.advance(torch.tensor([first]))
    assert_scores([second, letter], ["a", "a\ufffda"])
    state.advance(torch.tensor([second]))
    assert_scores([third, first], ["aⅧ", "a"])
    state.advance(torch.tensor([third]))
    assert_scores([letter, 2], ["aⅧa", "aⅧ"])


@pytest.mark.parametrize("bos", [1, None])
def test_an_empty_text_is_the_token_that_opens_a_text(bos):
    original = tiny_reward(byte_lm("gpt2", MERGES), "v", bos_token_id=bos)
    foreign = RetokenizedReward(original, tiny_lm("llama"))
    state = foreign.start()
    state.prefill(torch.tensor([[1]]), torch.tensor([[True]]))
    opened = original.network.head(original.network.trunk(input_ids=torch.tensor([[1]])).last_hidden_state[0])
    assert torch.allclose(state.rewards(torch.tensor([[2, 0]]))[0], opened.expand(2, -1), atol=TOLERANCE)


def test_only_new_tokens_of_the_reward_are_encoded(foreign, prompts, candidates):
    """A step runs the candidates' own tokens; a row that was taken back, or forked, runs nothing twice."""
    usage = Usage()
    state = foreign.start(KVCache(foreign.lm.model, prefix_cache=PrefixCache(), usage=usage))
    state.prefill(torch.tensor([prompts[0]]), torch.ones(1, len(prompts[0]), dtype=torch.bool))
    asked = torch.tensor([candidates])
    state.rewards(asked)
    first = usage.copy()
    assert first.calls == 1
    state.rewards(asked)
    again = usage - first
    own = len(foreign.base.codec.encode_text(foreign.lm.codec.decode(prompts[0])))
    assert own < first.tokens
    assert again.tokens == first.tokens - own - foreign.extra_tokens + 1  # the text's last token has to run
    state.advance(asked[:, 0])
    state.rewards(asked)
    state.rollback(1)
    before = usage.copy()
    state.select(torch.tensor([0, 0]))
    state.rewards(asked.repeat(2, 1))
    assert (usage - before).tokens <= again.tokens


def test_a_single_candidate_is_kept_too(foreign, prompts):
    usage = Usage()
    state = foreign.start(KVCache(foreign.lm.model, usage=usage))
    state.prefill(torch.tensor([prompts[0]]), torch.ones(1, len(prompts[0]), dtype=torch.bool))
    one = torch.tensor([prompts[1][:1]])
    state.rewards(one)
    first = usage.tokens
    state.advance(one[:, 0])
    state.rewards(one)
    assert usage.tokens - first < first


def test_a_search_takes_tokens_back(steering, lm):
    """The rewards judge and steer a search; its result is the same without a prefix cache of the caller's."""
    settings = RewindSettings(max_new_tokens=4, iterations=3, fresh_iterations=2, children=3, max_children=4)
    options = {"judge": steering.away(1.0), "steer": steering.away(4.0), "settings": settings, "seed": 1}
    found = lm.rewind(TEXTS[:2], **options)
    assert [each.text for each in found] == [each.text for each in lm.session().rewind(TEXTS[:2], **options)]
    assert all(each.text for each in found)


def test_best_of_ranks_by_the_score_of_the_whole_text(steering, lm):
    ranked = lm.best_of(TEXTS[0], 4, by=steering, **OPTIONS)
    ids = steering.lm.codec.encode_prompt(TEXTS[0])
    texts = [steering.lm.codec.decode([*ids, *draft.token_ids]).rstrip("\ufffd") for draft in ranked.drafts]
    expected = steering.original.score(texts)[:, 0].tolist()
    assert list(ranked.scores) == pytest.approx(expected, abs=TOLERANCE)
    assert expected == sorted(expected, reverse=True)


def test_rows_may_join_and_leave_a_running_batch(steering, lm):
    params = SamplingParams(**OPTIONS)
    requests = [Request(steering.lm.codec.encode_prompt(text), params, steering.toward(3.0)) for text in TEXTS]
    testing.assert_joining_changes_nothing(lm.engine, requests, steps_before=2)


def test_inside_transformers_generate(steering, lm):
    """The processor writes what our own loop writes, greedily."""
    steer, tokenizer = steering.toward(4.0), steering.lm.tokenizer
    ids = tokenizer(TEXTS[:1], return_tensors="pt", return_token_type_ids=False)
    processor = SteeringProcessor(steer, top_k=6, tokenizer=tokenizer)
    written = steering.lm.model.generate(**ids, max_new_tokens=6, do_sample=False, logits_processor=[processor])
    ours = lm.generate(TEXTS[0], steer, top_k=6, max_new_tokens=6, temperature=0.0)
    assert written[0, ids["input_ids"].shape[1] :].tolist() == ours.token_ids


def test_another_language_model_is_refused(foreign):
    other = LanguageModel(TorchEngine(byte_lm("llama", [("x", "y")])))
    with pytest.raises(
        errors.RewardMismatch, match=r"load it for that model: trimtab.reward\('tiny-v', lm, retokenize"
    ):
        other.generate("w1", foreign.toward(1.0))


def test_a_head_that_scores_tokens_is_refused(foreign):
    with pytest.raises(errors.InvalidSetting, match="expected a reward with a V-head"):
        RetokenizedReward(tiny_reward(foreign.base, "q"), foreign.lm)


def test_too_many_candidates_are_refused(steering, lm):
    with pytest.raises(errors.InvalidSetting, match="expected 1 to"):
        lm.generate("w1", steering.toward(1.0), top_k=None, max_new_tokens=1)
    with pytest.raises(errors.InvalidSetting, match="expected 1 to"):
        steering.check_candidates(2000)


def test_a_row_whose_text_has_no_room_in_the_reward_ends_alone():
    """The tiny models read 64 tokens: a word is one token of one of them, and four bytes of the other."""
    foreign = RetokenizedReward(tiny_reward(byte_lm("gpt2", []), "v"), tiny_lm("llama"))
    lm, steer = LanguageModel(TorchEngine(foreign.lm)), foreign.toward(1.0)
    long, short = " ".join(["w11"] * 16), "w1"
    with pytest.raises(errors.InvalidPrompt, match=r"'tiny-v' cannot read .* expected 1 to 63.*prompt 2 of 2"):
        lm.generate([short, long], steer, max_new_tokens=9, top_k=4, seed=0)
    batch = lm.engine.start_batch()
    params = SamplingParams(max_new_tokens=9, top_k=4, seed=0)
    requests = [Request(foreign.lm.codec.encode_prompt(text), params, steer) for text in (short, long)]
    batch.add(requests, lm.engine.limits(requests))
    chunks = []
    while batch.active:
        chunks += batch.step()
    written = [token.token_id for chunk in chunks if not chunk.request for token in chunk.choices]
    assert written == lm.generate(short, steer, max_new_tokens=9, top_k=4, seed=0).token_ids
    assert [isinstance(chunk.fault, errors.InvalidPrompt) for chunk in chunks if chunk.request][-1]


def test_records_name_the_tokenizer(foreign):
    about = foreign.describe()
    assert about["retokenized_for"] == foreign.lm.codec.fingerprint
    assert about["fingerprint"] == foreign.original.fingerprint
    assert "for " + foreign.lm.name in repr(foreign)
