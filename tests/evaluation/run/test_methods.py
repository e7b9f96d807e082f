"""The texts of each method are those of the public calls."""

from dataclasses import replace

import pytest

from tiny import tiny_reward
from tiny_sweep import SETS, SETTINGS
from trimtab import Segments
from trimtab.engines.sampling_params import SamplingParams
from trimtab.evaluation.report.collect import read_rows
from trimtab.evaluation.run.plan import Plan
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep import Sweep
from trimtab.evaluation.run.sweep_settings import Grid
from trimtab.judges.reward_judge import RewardJudge
from trimtab.rewind.rewind_settings import RewindSettings

PARAMS = SamplingParams(n=3, max_new_tokens=4, seed=0)
PROMPTS = list(SETS[0].prompts)


@pytest.fixture(scope="module")
def rows(whole):
    return {row.name: row for row in read_rows(whole)}


@pytest.mark.parametrize(
    ("name", "beta", "top_k"),
    [
        ("some--up--unsteered", 0, None),
        ("some--up--top-k=0", 0, 6),
        ("some--up--q=5", 5.0, 6),
        ("more--down--q=5", -5.0, 6),
    ],
)
def test_sampled_texts_are_those_of_generate(lm, rows, name, beta, top_k):
    q = tiny_reward(lm.base, "q")
    steer = (q.toward(beta) if beta > 0 else q.away(-beta)) if beta else None
    prompts = PROMPTS if name.startswith("some") else ["w7 w8"]
    expected = lm.generate(prompts, steer, replace(PARAMS, top_k=top_k))
    found = [[text["text"] for text in of_prompt] for of_prompt in rows[name].texts]
    assert found == [[sample.text for sample in of_prompt.samples] for of_prompt in expected]


def test_rewards_that_steer_together_share_beta(lm, rows):
    q, v = tiny_reward(lm.base, "q"), tiny_reward(lm.base, "v")
    expected = lm.generate(PROMPTS, q.toward(1.0) + v.toward(1.0, "calm"), replace(PARAMS, top_k=6))
    found = [[text["text"] for text in of_prompt] for of_prompt in rows["some--up--q+v=2"].texts]
    assert found == [[sample.text for sample in of_prompt.samples] for of_prompt in expected]


def test_best_of_keeps_the_draft_with_the_higher_reward(lm, rows):
    reward = tiny_reward(lm.base, "q")
    drafts = lm.generate(PROMPTS, params=replace(PARAMS, top_k=6, n=6))

    def score(draft):
        ids = [i for i in draft.token_ids if i != lm.tokenizer.eos_token_id]
        return reward.score_ids([[*lm.tokenizer(draft.prompt)["input_ids"], *ids]]).values[0, -1, 0].item()

    for texts, of_prompt in zip(rows["some--up--best-of-2-by-tiny-q"].texts, drafts, strict=True):
        pairs = [of_prompt.samples[first : first + 2] for first in (0, 2, 4)]
        assert [text["text"] for text in texts] == [max(pair, key=score).text for pair in pairs]


def test_greedy_writes_the_most_likely_text_for_every_sample(lm, tmp_path):
    plan = Plan(Grid(greedy=True), SETTINGS, {}, None)
    Sweep("prompts", plan.rows(SETS[:1]), SETTINGS, tmp_path).run(lm)
    (row,) = (row for row in read_rows(tmp_path) if row.settings["method"] == "greedy")
    best = lm.generate(PROMPTS, temperature=0, max_new_tokens=SETTINGS.max_new_tokens)
    assert [text["text"] for text in row.flat] == [text.text for text in best for _ in range(SETTINGS.samples)]


@pytest.fixture(scope="module")
def searched(lm, tmp_path_factory):
    """The rows of searches by a reward, unsteered and steered, with two samples."""
    folder = tmp_path_factory.mktemp("searched")
    reward = tiny_reward(lm.base, "q")
    grid = Grid(reward=["q"], beta=[5.0], rewind=["q"], rewind_beta=[5.0], rewind_alone=True)
    settings = replace(SETTINGS, samples=2, max_new_tokens=3)
    plan = Plan(grid, settings, {"q": [(reward, None)]}, None, [(reward, None)])
    Sweep("prompts", plan.rows(SETS[:1]), settings, folder).run(lm)
    return {row.name: row for row in read_rows(folder)}


@pytest.mark.parametrize(("name", "beta"), [("tiny-q", None), ("tiny-q=5", 5.0)])
def test_each_sample_of_a_search_has_a_seed_of_its_own(lm, searched, name, beta):
    reward = tiny_reward(lm.base, "q")
    every, seeds = [prompt for prompt in PROMPTS for _ in range(2)], [0, 1] * 3
    judge, steer = RewardJudge(reward.toward(1), alone=True), reward.toward(beta) if beta else None
    expected = lm.rewind(every, judge, steer, RewindSettings(max_new_tokens=3), seed=seeds)
    assert [text["text"] for text in searched[f"some--up--rewound-by-{name}"].flat] == [each.text for each in expected]


def test_the_tokens_of_a_search_are_counted(searched):
    encoded = {name: sum(text["encoded"] for text in row.flat) for name, row in searched.items()}
    assert encoded["some--up--rewound-by-tiny-q"] > 5 * encoded["some--up--top-k=0"]


def texts_of(lm, tmp_path, grid, sets=SETS, settings=SETTINGS):
    """The texts of each row of a grid, by method and prompt set."""
    chosen = (tiny_reward(lm.base, "q"), None)
    judges = [chosen] if grid.rewind else []
    plan = Plan(grid, settings, {"q": [chosen]}, chosen, judges, SearchSettings(iterations=8))
    Sweep("prompts", plan.rows(sets), settings, tmp_path).run(lm)
    rows = read_rows(tmp_path)
    return {
        (row.settings["method"], row.settings["prompts"]): [[text["text"] for text in of] for of in row.texts]
        for row in rows
    }


def test_searches_of_prefixes_are_those_of_best_of_with_a_seed_for_each_sample(lm, tmp_path):
    grid = Grid(best_of=[3], by="q", block=[2], halve_every=[2], accept_at=[0.4])
    found = texts_of(lm, tmp_path, grid)
    reward = tiny_reward(lm.base, "q")
    ways = {
        "best of 3 by tiny-q in blocks of 2": {"block": 2},
        "best of 3 by tiny-q, halved every 2": {"halve_every": 2},
        "best of 3 by tiny-q in segments to 0.4": {"segments": 0.4},
    }
    for name, given in ways.items():
        for prompts, steer, sign in (("some", reward.toward(1.0), 1), ("more", reward.away(1.0), -1)):
            way = {"segments": Segments(sign * 0.4)} if "segments" in given else given
            one = next(each for each in SETS if each.name == prompts)
            expected = [
                [
                    lm.best_of(prompt, 3, steer, params=replace(PARAMS, n=1, top_k=6, seed=seed), **way).text
                    for seed in range(3)
                ]
                for prompt in one.prompts
            ]
            assert found[name, prompts] == expected


def test_args_is_the_greedy_text_of_the_unclamped_reward(lm, tmp_path):
    found = texts_of(lm, tmp_path, Grid(reward=["q"], args=[1.5]), SETS[1:])
    steer = tiny_reward(lm.base, "q").away(1.5, clamp=(-1e6, 1e6))
    best = lm.generate("w7 w8", steer, replace(PARAMS, n=1, top_k=6, temperature=0.0))
    assert found["q greedy", "more"] == [[best.text] * 3]


def test_every_method_writes_at_the_temperature_of_the_comparison(lm, tmp_path):
    grid = Grid(reward=["q"], beta=[5.0], best_of=[3], by="q", block=[2], rewind=["q"])
    found = texts_of(lm, tmp_path, grid, SETS[:1], replace(SETTINGS, samples=2, temperature=0.5))
    reward, params = tiny_reward(lm.base, "q"), replace(PARAMS, n=1, top_k=6, temperature=0.5)
    every, seeds = [prompt for prompt in PROMPTS for _ in range(2)], [0, 1] * 3
    settings = RewindSettings(max_new_tokens=4, iterations=8, temperature=0.5)
    steered = lm.generate(PROMPTS, reward.toward(5.0), replace(params, n=2))
    ranked = lm.best_of(every, 3, reward.toward(1.0), params=[replace(params, seed=seed) for seed in seeds], block=2)
    rewound = lm.rewind(every, RewardJudge(reward.toward(1)), settings=settings, seed=seeds)
    expected = {
        "q": [sample.text for of_prompt in steered for sample in of_prompt.samples],
        "best of 3 by tiny-q in blocks of 2": [each.text for each in ranked],
        "rewound by tiny-q": [each.text for each in rewound],
    }
    for name, texts in expected.items():
        assert [text for of_prompt in found[name, "some"] for text in of_prompt] == texts
