import pytest
import torch

import trimtab
from trimtab import testing
from trimtab.engines.base import Engine, Request, StartsBatches
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidPrompt, InvalidSetting, NonFiniteReward, UnsupportedByEngine
from trimtab.judges import RewardJudge
from trimtab.steering.steer import Steer, Term

PROMPTS = ["The new neighbours are", "My boss said that", "I never liked", "After the storm, the whole town was very"]
KINDS = {"own state": "sentiment-own", "ladder": "sentiment", "own layers": "sentiment-lora"}
MODES = [{"temperature": 0}, {"seed": 0}]


@pytest.fixture(scope="session")
def rewards(smollm2):
    return {kind: trimtab.reward(name, smollm2) for kind, name in KINDS.items()}


def assert_same(vllm_lm, smollm2, prompts, steers, **options):
    """Both engines write the same texts, which end for the same reasons."""
    found = vllm_lm.generate(prompts, steers, **options)
    expected = smollm2.generate(prompts, steers, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert [s.token_ids for s in ours.samples] == [s.token_ids for s in theirs.samples]
        assert [s.finish_reason for s in ours.samples] == [s.finish_reason for s in theirs.samples]
    return found, expected


def test_it_keeps_the_protocol(vllm_lm):
    assert isinstance(vllm_lm.engine, Engine)
    assert isinstance(vllm_lm.engine, StartsBatches)
    assert vllm_lm.engine.describe()["engine"] == "vllm"


@pytest.mark.parametrize("mode", MODES, ids=["greedy", "seeded"])
@pytest.mark.parametrize("kind", ["unsteered", *KINDS])
def test_it_writes_the_torch_engines_texts(vllm_lm, smollm2, rewards, kind, mode):
    steer = None if kind == "unsteered" else rewards[kind].toward(20.0)
    assert_same(vllm_lm, smollm2, PROMPTS, steer, max_new_tokens=16, **mode)


def test_it_records_what_the_torch_engine_records(vllm_lm, smollm2, rewards):
    steer = rewards["ladder"].toward(20.0) + rewards["own state"].away(5.0)
    found, expected = assert_same(vllm_lm, smollm2, PROMPTS, steer, max_new_tokens=6, seed=0, max_kl=1.0)
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours.trace, theirs.trace, strict=True):
            assert a.choice.candidates.tolist() == b.choice.candidates.tolist()
            torch.testing.assert_close(a.choice.steered_logprobs, b.choice.steered_logprobs, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(a.choice.base_logprobs, b.choice.base_logprobs, atol=1e-3, rtol=1e-3)
            assert a.choice.rewards.keys() == b.choice.rewards.keys()
            for name, values in b.choice.rewards.items():
                torch.testing.assert_close(a.choice.rewards[name], values, atol=1e-3, rtol=1e-3)
            assert a.choice.scale == pytest.approx(b.choice.scale, abs=1e-3)


def test_each_row_of_a_batch_has_its_own_steer_and_settings(vllm_lm, smollm2, rewards):
    steers = [None, rewards["ladder"].toward(30.0), rewards["own layers"].away(15.0), rewards["own state"].toward(9.0)]
    params = [
        SamplingParams(seed=1, max_new_tokens=12, top_k=None, top_p=0.9),
        SamplingParams(seed=2, max_new_tokens=9, top_k=5, temperature=0.7),
        SamplingParams(seed=3, max_new_tokens=14, top_k=None),
        SamplingParams(temperature=0, max_new_tokens=10, repetition_penalty=1.3, no_repeat_ngram_size=2, seed=4),
    ]
    found = vllm_lm.generate(PROMPTS, steers, params)
    expected = smollm2.generate(PROMPTS, steers, params)
    assert [each.token_ids for each in found] == [each.token_ids for each in expected]


def test_rewards_of_one_name_keep_their_names(vllm_lm, smollm2, rewards, tmp_path):
    """Also when the row of the first of them ends."""
    rewards["ladder"].save_pretrained(tmp_path / "sentiment")
    other = trimtab.reward(tmp_path / "sentiment", smollm2)
    params = [SamplingParams(max_new_tokens=count, seed=0) for count in (2, 8)]
    steers = [other.toward(9.0), rewards["ladder"].toward(9.0)]
    for written in vllm_lm.generate(PROMPTS[:2], steers, params=params):
        assert len(written.mean_rewards) == 1
        for token in written.trace:
            finite = {name for name, values in token.choice.rewards.items() if values.isfinite().all()}
            assert finite == written.mean_rewards.keys()


def test_samples_of_a_prompt_are_the_torch_engines(vllm_lm, smollm2, rewards):
    assert_same(vllm_lm, smollm2, PROMPTS[:2], rewards["ladder"].toward(10.0), n=3, max_new_tokens=8, seed=5)


def test_stop_strings_end_a_text(vllm_lm, smollm2, rewards):
    found, _ = assert_same(
        vllm_lm, smollm2, PROMPTS, rewards["ladder"].toward(10.0), max_new_tokens=30, seed=1, stop=[".", " and"]
    )
    assert "stop" in {each.finish_reason for each in found}


@pytest.mark.parametrize("kind", KINDS)
def test_preempted_texts_and_prompts_in_chunks_are_the_same(vllm_lm, smollm2, rewards, preempted, kind):
    """12 texts need more blocks than there are; each prompt is longer than a step reads."""
    prompts = [f"{number} {' '.join(PROMPTS * 3)}" for number in range(12)]
    assert_same(vllm_lm, smollm2, prompts, rewards[kind].toward(20.0), max_new_tokens=48, seed=0)
    assert preempted


def test_a_prompt_that_vllm_has_cached_is_steered_the_same(vllm_lm, smollm2, rewards):
    prompt = " ".join(PROMPTS * 3)
    vllm_lm.generate(prompt, None, max_new_tokens=2, seed=0)
    for reward in rewards.values():
        assert_same(vllm_lm, smollm2, [prompt], reward.toward(20.0), max_new_tokens=8, seed=0)


def test_a_ladder_catches_up_where_vllm_did_not_run_the_model(vllm_lm, smollm2, rewards, monkeypatch):
    monkeypatch.setattr("trimtab.engines.vllm.request_pool.reads_every_token", lambda asked: False)
    prompt = " ".join(PROMPTS * 3)
    vllm_lm.generate(prompt, None, max_new_tokens=2, seed=0)
    assert_same(vllm_lm, smollm2, [prompt, PROMPTS[0]], rewards["ladder"].toward(20.0), max_new_tokens=8, seed=0)


def test_the_laws_of_engines_hold(vllm_lm, rewards):
    reward = rewards["ladder"]
    options = {"max_new_tokens": 8, "seed": 0}
    testing.assert_zero_beta_is_plain(vllm_lm, reward, PROMPTS, **options)
    testing.assert_halves_add_up(vllm_lm, reward, 20.0, PROMPTS, **options)
    testing.assert_budget_is_kept(vllm_lm, reward.toward(40.0), 0.5, PROMPTS[:2], **options)
    testing.assert_seeded_ignores_batch(vllm_lm, [None, reward.toward(9.0), None], PROMPTS[:3], **options)


def test_threads_change_nothing(vllm_lm, rewards):
    steers = [rewards["ladder"].toward(20.0), None, rewards["own layers"].toward(10.0), rewards["own state"].away(10.0)]
    testing.assert_threads_change_nothing(vllm_lm, PROMPTS, steers, max_new_tokens=8, seed=0)


def test_a_stream_has_the_same_tokens(vllm_lm, rewards):
    codec = vllm_lm.engine.codec
    params = SamplingParams(seed=0, max_new_tokens=7, n=2)
    requests = [Request(codec.encode_prompt(text), params, rewards["ladder"].toward(9.0)) for text in PROMPTS[:2]]
    testing.assert_stream_equals_sample(vllm_lm, requests)


def test_a_stream_that_is_left_ends_its_request(vllm_lm):
    tokens = vllm_lm.stream(PROMPTS[0], max_new_tokens=30, seed=0)
    next(tokens)
    tokens.close()
    assert not vllm_lm.engine.llm_engine.has_unfinished_requests()


def test_a_cancelled_request_leaves_the_others_alone(vllm_lm, smollm2, rewards):
    engine, steer = vllm_lm.engine, rewards["ladder"].toward(20.0)
    params = SamplingParams(seed=0, max_new_tokens=10)
    requests = [Request(engine.codec.encode_prompt(text), params, steer) for text in PROMPTS]
    batch = engine.start_batch()
    first, *_ = batch.add(requests, engine.limits(requests))
    written = {number: [] for number in range(4)}
    for step in range(30):
        if step == 3:
            batch.cancel(first)
        for chunk in batch.step() if batch.active else []:
            written[chunk.request] += [choice.token_id for choice in chunk.choices]
    expected = smollm2.generate(PROMPTS, steer, params)
    assert not batch.active
    assert [written[number] for number in (1, 2, 3)] == [each.token_ids for each in expected[1:]]
    assert len(written[first]) < 10


def test_a_closed_batch_leaves_vllm_nothing_to_write(vllm_lm, rewards):
    """As the server closes it after a step that failed."""
    engine, steer = vllm_lm.engine, rewards["ladder"].toward(20.0)
    requests = [Request(engine.codec.encode_prompt(PROMPTS[0]), SamplingParams(n=3, seed=0, max_new_tokens=30), steer)]
    batch = engine.start_batch()
    batch.add(requests, engine.limits(requests))
    batch.step()
    assert engine.llm_engine.get_num_unfinished_requests() == 3
    batch.close()
    assert not batch.active
    assert not engine.llm_engine.has_unfinished_requests()


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_likelihoods_are_the_torch_engines(vllm_lm, smollm2, rewards, kind):
    steer = None if kind is None else rewards[kind].toward(20.0)
    encode = smollm2.engine.codec.encode_text
    prefixes = [encode(text) for text in PROMPTS]
    continuations = [[encode(" very nice"), encode(" the")], [encode(" we should not")], [encode(" him")], [[198, 504]]]
    found = vllm_lm.engine.score(prefixes, continuations, steer, top_k=20)
    expected = smollm2.engine.score(prefixes, continuations, steer, top_k=20)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.logprobs, theirs.logprobs, atol=2e-3, rtol=1e-3)
        assert ours.greedy.tolist() == theirs.greedy.tolist()


def test_likelihoods_of_single_tokens_are_the_models_own(vllm_lm, smollm2):
    """As a judge asks for them."""
    prefixes = [smollm2.engine.codec.encode_text(text) for text in PROMPTS]
    best = [each.token_ids[0] for each in smollm2.generate(PROMPTS, temperature=0, max_new_tokens=1)]
    continuations = [[[token], [198], [504]] for token in best]
    found = vllm_lm.engine.score(prefixes, continuations)
    expected = smollm2.engine.score(prefixes, continuations)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.logprobs, theirs.logprobs, atol=2e-3, rtol=1e-3)
        assert ours.greedy.tolist() == theirs.greedy.tolist() == [True, False, False]


@pytest.mark.parametrize("kind", [None, "ladder", "own layers"])
def test_reading_a_text_gives_the_torch_engines_choices(vllm_lm, smollm2, rewards, kind):
    steer = None if kind is None else rewards[kind].toward(20.0)
    texts = [smollm2.engine.codec.encode_text(text) for text in [*PROMPTS, "The"]]
    found = vllm_lm.engine.read(texts, steer, top_k=5)
    expected = smollm2.engine.read(texts, steer, top_k=5)
    assert [len(each) for each in found] == [len(text) - 1 for text in texts]
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.token_id, a.column, a.candidates.tolist()) == (b.token_id, b.column, b.candidates.tolist())
            torch.testing.assert_close(a.steered_logprobs, b.steered_logprobs, atol=1e-3, rtol=1e-3)


def test_best_of_and_rewind_run_on_it(vllm_lm, smollm2, rewards):
    reward = rewards["ladder"]
    ranked = vllm_lm.best_of(PROMPTS[0], 4, by=reward, seed=0, max_new_tokens=8)
    expected = smollm2.best_of(PROMPTS[0], 4, by=reward, seed=0, max_new_tokens=8)
    assert [each.token_ids for each in ranked.drafts] == [each.token_ids for each in expected.drafts]
    settings = trimtab.RewindSettings(iterations=4, fresh_iterations=2, max_new_tokens=8)
    options = {"judge": RewardJudge(reward.toward(1.0)), "settings": settings, "similarity": "off", "seed": 0}
    assert vllm_lm.rewind(PROMPTS[0], **options).text == smollm2.rewind(PROMPTS[0], **options).text


def test_rewards_that_read_every_candidate_are_refused(vllm_lm, smollm2):
    rad = trimtab.reward("sentiment-rad", smollm2)
    with pytest.raises(UnsupportedByEngine, match="use engine='torch'"):
        vllm_lm.generate(PROMPTS[0], rad.toward(20.0))
    with pytest.raises(UnsupportedByEngine, match="use engine='torch'"):
        vllm_lm.generate(PROMPTS[0], trimtab.experts(smollm2, None).toward(1.0))


def test_what_it_lacks_is_refused_before_it_works(vllm_lm, smollm2):
    with pytest.raises(InvalidSetting, match="speculate"):
        vllm_lm.generate(PROMPTS[0], speculate="lookup")
    with pytest.raises(InvalidPrompt):
        vllm_lm.engine.sample([Request([5] * 9000, SamplingParams(seed=0))])
    with pytest.raises(InvalidSetting, match="engine_options"):
        trimtab.load("smollm2", engine="vllm", engine_options={"dtype": "float32"})
    with pytest.raises(InvalidSetting, match="batch_invariant"):
        trimtab.load("smollm2", engine="vllm", batch_invariant=True)


def test_a_reward_that_is_not_finite_ends_its_row_alone(vllm_lm, smollm2, rewards, monkeypatch):
    engine, sound = vllm_lm.engine, rewards["ladder"]
    broken = trimtab.reward("sentiment-own", smollm2)
    monkeypatch.setattr(broken.network.head.up, "data", broken.network.head.up.data * float("nan"))
    params = SamplingParams(seed=0, max_new_tokens=6)
    steers = [Steer((Term(broken, 0, 5.0),)), sound.toward(9.0)]
    requests = [Request(engine.codec.encode_prompt(PROMPTS[0]), params, steer) for steer in steers]
    batch = engine.start_batch()
    batch.add(requests, engine.limits(requests))
    chunks = [chunk for _ in range(9) if batch.active for chunk in batch.step()]
    assert isinstance(next(chunk.fault for chunk in chunks if chunk.request == 0), NonFiniteReward)
    written = [choice.token_id for chunk in chunks if chunk.request == 1 for choice in chunk.choices]
    assert written == smollm2.generate(PROMPTS[0], steers[1], params).token_ids
    with pytest.raises(NonFiniteReward, match="prompt 1 of 1"):
        vllm_lm.generate(PROMPTS[0], steers[0], params)
    assert not engine.llm_engine.has_unfinished_requests()


def test_a_session_counts_for_itself(vllm_lm):
    session = vllm_lm.session()
    session.generate(PROMPTS[0], max_new_tokens=3, seed=0)
    assert session.engine.usage.tokens == len(session.engine.codec.encode_prompt(PROMPTS[0])) + 3
    assert session.engine.llm_engine is vllm_lm.engine.llm_engine
