"""Fresh rewards and the steers of a batch."""

from dataclasses import replace

from trimtab.benchmark.fresh_rewards import FreshRewards
from trimtab.benchmark.rows import ARM, OWN, RAD, ROWS, RewardShape
from trimtab.rewards.adapters import QuickAdapter

ROW = {row.key: row for row in ROWS}


def test_rewards_have_the_shape_of_their_recipe(subject):
    rewards = FreshRewards(subject)
    arm, rad, own = (rewards.model(RewardShape(recipe)) for recipe in (ARM, RAD, OWN))
    assert [(r.card.trunk, r.card.head, r.card.layers) for r in (arm, rad, own)] == [
        ("lora", "q", 2),
        ("lora", "v", 2),
        ("frozen", "q", 3),
    ]
    assert own.reads(subject.lm.model) is not None, "own state runs no trunk"
    assert arm.reads(subject.lm.model) is None


def test_a_shape_is_built_once_and_shared_by_all_methods_of_rad(subject):
    rewards = FreshRewards(subject)
    shapes = [RewardShape(RAD), RewardShape(RAD, by="re-encoding"), RewardShape(RAD, by="cached calls")]
    assert len({id(rewards.model(shape)) for shape in shapes}) == 1
    assert rewards.model(RewardShape(RAD, attributes=2)) is not rewards.model(RewardShape(RAD))


def test_a_row_says_whether_the_adapters_that_run_are_merged(subject):
    rewards = FreshRewards(subject)

    def adapters(merge):
        trunk = rewards.model(RewardShape(ARM, merge_adapters=merge)).prefix_encoder.trunk
        return [part for part in trunk.modules() if isinstance(part, QuickAdapter)]

    assert adapters(False)
    assert not adapters(True)
    assert not adapters(None), "they fit"


def test_the_trunk_of_a_smaller_base_runs_beside_the_model(shaped):
    rewards = FreshRewards(shaped)
    arm, own = rewards.model(RewardShape(ARM)), rewards.model(RewardShape(OWN))
    assert arm.base is shaped.base
    assert arm.card.layers == 2
    assert arm.reads(shaped.lm.model) is None
    assert own.reads(shaped.lm.model) is not None


def test_plain_rows_have_no_steer_and_others_one_for_the_batch(subject):
    rewards = FreshRewards(subject)
    assert rewards.steers(ROW["plain"], 2) == [None, None]
    first, second = rewards.steers(ROW["arm"], 2)
    assert first is second
    assert [(term.attribute, term.beta, term.away) for term in first.terms] == [(0, 1.0, False)]


def test_two_attributes_are_two_terms_of_one_reward(subject):
    steer = FreshRewards(subject).steers(ROW["arm-two"], 1)[0]
    assert [(term.attribute, term.away) for term in steer.terms] == [(0, False), (1, True)]
    assert len({id(term.reward) for term in steer.terms}) == 1


def test_own_steers_are_all_different_and_of_one_reward(subject):
    steers = FreshRewards(subject).steers(replace(ROW["own-steers"]), 32)
    assert len({(steer.terms[0].beta, steer.terms[0].away) for steer in steers}) == 32
    assert len({id(steer.terms[0].reward) for steer in steers}) == 1
