"""The states of rows that come, go and are read in chunks are those of one forward of each whole text."""

import random

import pytest
import torch

from fake_vllm import ModelSide
from tiny import tiny_ladder, tiny_reward
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.row_rewards import new_source
from trimtab.engines.vllm.rows import BatchRow, place_rows

ASKED = Asked(SamplingParams(seed=0))
MAKE = {
    "own state, top": lambda lm: tiny_reward(lm, "q", "frozen", layers=3, bos_token_id=None),
    "own state, below": lambda lm: tiny_reward(lm, "q", "frozen", layers=2, bos_token_id=None),
    "ladder": tiny_ladder,
    "own layers": lambda lm: tiny_reward(lm, "q"),
    "genarm": lambda lm: tiny_reward(lm, "lm", attributes=("kind",), baseline=False),
}


def expected(reward, lm, row):
    """The state of a whole text, by one forward of the reward's own network."""
    ids = torch.tensor([row.ids])
    return reward.network.encoder.encode(ids, torch.ones_like(ids, dtype=torch.bool)).hidden[0, -1]


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_states_are_those_of_whole_texts(llama, kind, seed):
    reward, draw, vllm = MAKE[kind](llama), random.Random(seed), ModelSide(llama)
    source = new_source(reward, llama)
    rows, batches = [], 0
    for _ in range(25):
        if len(rows) < 5 and draw.random() < 0.6:
            prompt = [draw.randrange(4, 60) for _ in range(draw.randrange(1, 12))]
            written = [draw.randrange(4, 60) for _ in range(draw.choice([0, 0, 3]))]  # some return from a preemption
            rows.insert(draw.randrange(len(rows) + 1), BatchRow(ASKED, prompt, written))
        if len(rows) > 1 and draw.random() < 0.3:
            del rows[draw.randrange(len(rows))]
        if not rows:
            continue
        draw.shuffle(rows)
        step, _ = vllm.step(
            rows, {row: draw.randrange(1, 6) if vllm.read.get(row, 0) < row.known else 1 for row in rows}
        )
        placed = place_rows(dict(enumerate(rows)), step)
        source.follow(step, placed)
        ready = [each.row for each in placed if each.ready]
        assert ready == [row for row in rows if vllm.read[row] >= row.known]
        if ready:
            batches += 1
            found = source.hidden(ready)
            for row, state in zip(ready, found, strict=True):
                torch.testing.assert_close(state, expected(reward, llama, row), atol=1e-4, rtol=1e-4)
        for row in ready:
            row.written.append(draw.randrange(4, 60))
    assert batches > 10


@torch.inference_mode()
def test_a_ladder_encodes_a_start_that_the_model_did_not_run_over(llama):
    """As behind a hit in vLLM's prefix cache, beside a row that has no gap."""
    reward, vllm = tiny_ladder(llama), ModelSide(llama)
    source = new_source(reward, llama)
    cached, plain = BatchRow(ASKED, list(range(10, 22)), []), BatchRow(ASKED, list(range(30, 37)), [])
    vllm.read[cached] = 8
    step, _ = vllm.step([plain, cached], {plain: 7, cached: 4})
    placed = place_rows({0: plain, 1: cached}, step)
    source.follow(step, placed)
    for row, state in zip([plain, cached], source.hidden([plain, cached]), strict=True):
        torch.testing.assert_close(state, expected(reward, llama, row), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_rows_that_leave_before_any_was_ready_make_room(llama):
    """Two long prompts are read in chunks when one of them ends; the text before them has left."""
    reward, vllm = tiny_reward(llama, "q"), ModelSide(llama)
    source = new_source(reward, llama)
    before, leaving, staying = (BatchRow(ASKED, list(range(start, start + 6)), []) for start in (10, 20, 30))
    for rows, tokens in ([before], 6), ([leaving, staying], 2), ([staying], 2), ([staying], 2):
        step, _ = vllm.step(rows, dict.fromkeys(rows, tokens))
        source.follow(step, place_rows(dict(enumerate(rows)), step))
    (state,) = source.hidden([staying])
    torch.testing.assert_close(state, expected(reward, llama, staying), atol=1e-4, rtol=1e-4)
