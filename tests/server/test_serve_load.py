"""bench/serve_load.py in a few seconds: clients that come and leave get the library's texts, and no row stays."""

import runpy
from pathlib import Path

import pytest

from tiny import tiny_ladder
from trimtab.server.reward_shelf import RegisteredReward, RewardShelf

PROMPTS = ["w1 w2", "w3", "w4 w5 w6 w7"]


@pytest.fixture(scope="module")
def bench():
    return runpy.run_path(str(Path(__file__).parents[2] / "bench" / "serve_load.py"), run_name="imported")


@pytest.mark.long
def test_clients_that_come_and_leave_change_no_text_and_leave_no_row(bench, chatting, shelf):
    rewards = [*shelf, RegisteredReward.of("mood-ladder", tiny_ladder(chatting.base))]
    found = bench["measure"](chatting, rewards, PROMPTS, clients=12, seconds=1.5, tokens=12, max_rows=6)
    assert set(found["statuses"]) == {"200"}
    assert found["whole_texts"] == found["compared_texts"] > 0
    assert found["clients_that_left"] > 0
    assert (found["rows_left"], found["wrong_texts"] + found["broken_ties"]) == (0, 0)
    memory = found["megabytes"]
    assert 0 < memory["after"] < 1.2 * memory["before"]
    assert len(memory["fifths"]) == 5


def test_a_steer_of_another_row_is_seen(bench, chatting, shelf):
    about = {"prompt": "w1 w2", "seed": 1, "max_tokens": 8, "temperature": 1, "steer": {}}
    leaked = chatting.generate("w1 w2", shelf[0].reward.toward(20), seed=1, max_new_tokens=8).text
    plain = chatting.generate("w1 w2", seed=1, max_new_tokens=8).text
    texts = [{**about, "text": leaked}, {**about, "text": plain}]
    (different,) = bench["wrong_texts"](chatting, RewardShelf(shelf), texts)
    assert different["lead"] > 0
