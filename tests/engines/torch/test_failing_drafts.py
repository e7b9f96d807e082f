"""What drafts cost that are never right, chains and trees, where a check costs what was measured somewhere."""

import pytest

from tiny import tiny_lm
from trimtab.engines.base import Request
from trimtab.engines.draft import TEXT, Draft
from trimtab.engines.draft_length import (
    BFLOAT16_COST,
    FLOAT32_COST,
    OTHER_COST,
    PLAIN_COST,
    TILED_COST,
)
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch import speculation
from trimtab.engines.torch.speculation import Speculation
from trimtab.models.kv_cache import KVCache

TREE = Draft(range(12), [*[TEXT] * 4, *[0] * 4, *[4] * 4], [0.5, 0.2, 0.1, 0.05] * 3)
CALLS = 200


class Wrong:
    """Drafts the same for every row, and promises much."""

    cost = 0.07

    def __init__(self, draft):
        self.draft = draft

    def reads(self, model):
        """Nothing."""

    def start(self, requests, host):
        """It is its own state."""
        return self

    def propose(self, most, steer, branches):
        """As deep as is asked for."""
        return [self.draft.part([p for p, deep in enumerate(self.draft.depths) if deep < each]) for each in most]

    def append(self, tokens):
        """Forget what was written."""

    def select(self, rows):
        """Do nothing."""

    def join(self, other):
        """Do nothing."""


@pytest.fixture(params=[PLAIN_COST, FLOAT32_COST, BFLOAT16_COST, TILED_COST, OTHER_COST])
def cost(request, monkeypatch):
    monkeypatch.setattr(speculation, "check_cost", lambda model, draft: request.param._replace(draft=draft))
    return request.param._replace(draft=Wrong.cost)


def spent_on(draft, cost, rows, right=()):
    """Return the time of a text over that of one without drafts, and the tokens of a call."""
    requests = [Request((1,), SamplingParams(seed=row)) for row in range(rows)]
    drafting = Speculation(Wrong(draft), requests, KVCache(tiny_lm("llama").model))
    spent = written = 0
    for _ in range(CALLS):
        drafts = drafting.propose([CALLS] * rows, lambda candidates: candidates.logits, branches=True)
        paths = [[place for place in right if place < len(each.tokens)] for each in drafts]
        spent += cost.of(rows, max(len(each.tokens) for each in drafts), drafting._deep) / cost.of(rows, 0)
        drafting.append(drafts, paths, [[0] * (1 + len(path)) for path in paths])
        written += 1 + len(paths[0])
    return spent / written


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("draft", [TREE, Draft.chain(range(12))])
def test_drafts_that_fail_cost_one_part_in_twenty(draft, cost, rows):
    assert spent_on(draft, cost, rows) <= 1.05


def test_a_step_that_checks_no_drafts_costs_none(cost):
    """A row without a state that scores drafts has joined: nothing is proposed, and what was seen stays."""
    requests = [Request((1,), SamplingParams(seed=0))]
    drafting = Speculation(Wrong(TREE), requests, KVCache(tiny_lm("llama").model))
    drafts = drafting.propose([CALLS], lambda candidates: candidates.logits, branches=True)
    drafting.append(drafts, [()], [[0]])
    balance, rate = drafting._balance._steps, drafting._seen[0].rate
    for _ in range(20):
        drafting.append([Draft()], [()], [[0]])
    assert drafting._balance._steps > balance
    assert drafting._seen[0].rate >= rate


def test_drafts_that_are_right_save_time(cost):
    assert spent_on(Draft.chain(range(12)), cost, 1, range(12)) < 0.6
