"""Timing: methods side by side, and rewards whose time is added up."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tiny import tiny_ladder, tiny_reward
from tiny_sweep import GRID, LENGTH, SETS, SETTINGS
from trimtab.engines.torch.engine import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.evaluation.report.collect import measure
from trimtab.evaluation.report.tables import time_columns
from trimtab.evaluation.run.methods import Method
from trimtab.evaluation.run.plan import Plan
from trimtab.evaluation.run.times_file import read_times, save_times
from trimtab.evaluation.run.timing import Clock, TimedReward, device_of, time_methods
from trimtab.language_model import LanguageModel

TIMED = ["top-k", "unsteered", "v", "best of 2 by tiny-q"]


@pytest.fixture(scope="module")
def times(lm):
    clock = Clock(device_of(lm))
    plan = Plan(GRID, SETTINGS, {"v": [(tiny_reward(lm.base, "v"), None)]}, (tiny_reward(lm.base, "q"), None))
    methods = plan.timed("up", clock.timed_steer)
    assert [method.name for method in methods] == TIMED
    return time_methods(lm, methods, SETS[0], clock, rounds=2)


def test_each_time_has_a_ratio_to_that_of_top_k(times):
    assert times["top-k"]["ratio"] == 1.0
    assert times["top-k"]["reward_share"] == times["unsteered"]["reward_share"] == 0.0
    for name in ("v", "best of 2 by tiny-q"):  # machines differ in the figures themselves
        assert 0 < times[name]["reward_share"] < 1
        assert times[name]["ratio"] > 0


def test_timing_a_reward_changes_no_text(lm):
    steer = tiny_reward(lm.base, "q").toward(5.0) + tiny_reward(lm.base, "q", trunk="frozen", layers=3).toward(2.0)
    clock = Clock(device_of(lm))
    plain, timed = (lm.generate("w1 w2", s, n=4, seed=3, max_new_tokens=6) for s in (steer, clock.timed_steer(steer)))
    assert [one.text for one in timed.samples] == [one.text for one in plain.samples]
    assert clock.seconds > 0


def test_timed_states_join(llama, head):
    """Rows that join a running batch are scored as in a batch of their own."""
    reward, candidates = TimedReward(tiny_reward(llama, head), Clock(None)), torch.tensor([[5, 6, 7]])
    states, alone = [], []
    for prompt in ([5, 6, 7], [8, 9]):
        state, batch = reward.start(), llama.batch([prompt])
        state.prefill(batch.ids, batch.mask)
        alone.append(state.rewards(candidates))
        states.append(state)
    first, second = states
    first.join(second)
    together = first.rewards(candidates.expand(2, -1))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_the_device_is_synchronized_only_for_a_model_in_this_process(llama):
    assert device_of(LanguageModel(TorchEngine(llama))) == llama.device
    assert Clock(None).now() > 0


def counted_method(name, tokens, runs, judged_by=None):
    def write(lm, prompts):
        runs.append(name)
        return [[SimpleNamespace(token_ids=[0] * tokens)] for _ in prompts]

    return Method(name, None, write, judged_by=judged_by)


def test_searches_run_once_and_are_compared_with_the_median(lm):
    runs = []
    by = tiny_reward(lm.base, "q").toward(1)
    methods = [counted_method("top-k", 4, runs), counted_method("q", 2, runs), counted_method("search", 1, runs, by)]
    seen = []
    times = time_methods(lm, methods, SETS[0], Clock(None), 2, lambda done, total: seen.append((done, total)))
    assert runs == ["top-k", "q"] * 3 + ["search"]
    assert seen[-1] == (7, 7)
    assert [times[name]["runs"] for name in ("top-k", "q", "search")] == [2, 2, 1]


class ScriptedClock:
    """A clock that methods move on."""

    seconds, sees_rewards = 0.0, True

    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def method(self, name, tokens, seconds, judged_by=None):
        """A method that takes these seconds in its turns, half of them in rewards."""
        counted, turns = counted_method(name, tokens, [], judged_by), iter(seconds)

        def write(lm, prompts):
            taken = next(turns)
            self.time, self.seconds = self.time + taken, taken / 2
            return counted.write(lm, prompts)

        return replace(counted, write=write)


def test_times_are_medians_per_token_without_the_first_round(lm):
    """Three prompts: 12 tokens by top-k, 6 by q, 3 by the search."""
    clock, by = ScriptedClock(), tiny_reward(lm.base, "q").toward(1)
    plain = clock.method("top-k", 4, [100.0, 1.0, 2.0, 8.0])
    steered = clock.method("q", 2, [900.0, 3.0, 2.0, 8.0])
    search = clock.method("search", 1, [5.0], by)
    times = time_methods(lm, [plain, steered, search], SETS[0], clock, rounds=3)
    assert times[plain.time_name] == {"ratio": 1.0, "reward_share": 0.5, "tokens_per_second": 6.0, "runs": 3}
    # in the rounds that count, q takes 6, 2 and 2 times as long for a token
    assert times[steered.time_name] == {"ratio": 2.0, "reward_share": 0.5, "tokens_per_second": 2.0, "runs": 3}
    assert times[search.time_name]["ratio"] == pytest.approx((5 / 3) / (2 / 12))
    assert times[search.time_name]["tokens_per_second"] == pytest.approx(3 / 5)


def test_a_method_that_writes_no_token_has_a_time(lm):
    runs = []
    times = time_methods(lm, [counted_method("top-k", 1, runs), counted_method("q", 0, runs)], SETS[0], Clock(None), 1)
    assert times["q"]["tokens_per_second"] > 0


def test_without_the_rewards_of_the_engine_their_share_is_unknown(lm, times, copied):
    """vLLM's processor computes rewards from states of its own, and takes only the rewards themselves."""
    clock = Clock(None, sees_rewards=False)
    steer = tiny_reward(lm.base, "q").toward(5.0)
    assert clock.timed_steer(steer) is steer
    runs = []
    found = time_methods(lm, [counted_method("top-k", 4, runs)], SETS[0], clock, 1)
    assert found["top-k"]["reward_share"] is None
    save_times(copied, found | {"v": times["v"]}, lm, {"rounds": 1})
    assert read_times(copied)["top-k"]["reward_share"] is None
    shown = {row.row.settings["method"]: row.time for row in measure(copied, [LENGTH]).rows if row.time}
    write = dict(time_columns())["reward share"]
    assert write({"time": shown["top-k"]}).text == "–"
    assert write({"time": shown["v"]}).text.endswith("%")


def test_work_that_runs_inside_the_model_has_no_share(lm):
    """A ladder's layers do, and an own state has the model read the texts that it ranks or judges."""
    own = tiny_reward(lm.base, "q", trunk="frozen", layers=3, bos_token_id=None).toward(1)
    ladder, lora = tiny_ladder(lm.base).toward(1), tiny_reward(lm.base, "q").toward(1)
    plain = counted_method("top-k", 4, [])
    steered = [replace(plain, name=name, steered_by=by) for name, by in [("own", own), ("ladder", own + ladder)]]
    ranked = [replace(plain, name=f"by {name}", ranked_by=by) for name, by in [("own", own), ("lora", lora)]]
    judged = [replace(plain, name=f"judged by {name}", judged_by=by) for name, by in [("own", own), ("lora", lora)]]
    times = time_methods(lm, [plain, *steered, *ranked, *judged], SETS[0], Clock(None), rounds=1)
    unknown = {name for name, time in times.items() if time["reward_share"] is None}
    assert unknown == {"ladder", "by own", "judged by own"}


def test_rounds_below_one_are_refused(lm):
    with pytest.raises(InvalidSetting, match="rounds=0"):
        time_methods(lm, [], SETS[0], Clock(None), 0)
