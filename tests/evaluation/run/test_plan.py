from dataclasses import replace

from tiny import tiny_reward
from tiny_sweep import GRID, SETS, SETTINGS
from trimtab.evaluation.run.plan import Plan


def plan_of(llama, **changes):
    q, v = ((tiny_reward(llama, head), None) for head in "qv")
    return Plan(replace(GRID, **changes), SETTINGS, {"q": [q], "v": [v]}, q, [v])


def test_plain_methods_come_first_then_each_reward_with_each_strength(llama):
    methods = plan_of(llama, greedy=True, rewind=["v"], rewind_beta=[3.0]).methods("up")
    assert [(method.name, method.beta) for method in methods] == [
        ("unsteered", None),
        ("top-k", 0.0),
        ("greedy", None),
        ("q", 2.0),
        ("q", 5.0),
        ("v", 2.0),
        ("v", 5.0),
        ("best of 2 by tiny-q", None),
        ("rewound by tiny-v", None),
        ("rewound by tiny-v", 3.0),
    ]


def test_budgets_and_strengths_make_a_grid(llama):
    methods = plan_of(llama, max_kl=[0.5, 2.0]).methods("down")
    steered = [method for method in methods if method.name.startswith("q")]
    assert [(method.name, method.beta, method.params.max_kl, method.about.get("max_kl")) for method in steered] == [
        ("q", 2.0, None, None),
        ("q", 5.0, None, None),
        ("q max_kl 0.5", 2.0, 0.5, 0.5),
        ("q max_kl 0.5", 5.0, 0.5, 0.5),
        ("q max_kl 2", 2.0, 2.0, 2.0),
        ("q max_kl 2", 5.0, 2.0, 2.0),
    ]


def test_each_method_runs_on_all_prompt_sets_before_the_next(llama):
    rows = plan_of(llama).rows(SETS)
    assert [(row.prompts.name, row.method.name) for row in rows[:4]] == [
        ("some", "unsteered"),
        ("more", "unsteered"),
        ("some", "top-k"),
        ("more", "top-k"),
    ]
    assert len(rows) == len(SETS) * len(plan_of(llama).methods("up"))


def test_one_method_of_each_name_is_timed_and_top_k_is_the_first(llama):
    names = [method.name for method in plan_of(llama).timed("up", lambda steer: steer)]
    assert names[0] == "top-k"
    assert sorted(names) == sorted(set(names))


def test_a_search_is_timed_with_and_without_a_steer(llama):
    timed = plan_of(llama, rewind=["v"], rewind_beta=[3.0, 4.0]).timed("up", lambda steer: steer)
    searched = {method.time_name: method.beta for method in timed if method.searches}
    assert searched == {"rewound by tiny-v": None, "rewound by tiny-v, steered": 4.0}
