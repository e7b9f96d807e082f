"""Which rows are measured in which table, with how many tokens. What would take too long is left out, with a reason.

The work of a run is counted in multiplications: two for each parameter that a token goes through.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from trimtab.benchmark.bench_settings import FEWEST_TOKENS, Setting
from trimtab.benchmark.rows import LOOKUP, Row
from trimtab.benchmark.subject import Subject
from trimtab.models.frozen_lm import FrozenLM
from trimtab.rewards.heads.v_head import MAX_CANDIDATES

RUNS = 6  # a row may take the time of this many runs of the usual size
SPARE = 1.5  # a run above the usual size may do this much more than the shortest texts need


@final
class Limits(NamedTuple):
    """What a run may take on a device.

    Attributes:
        usual: floating-point operations of one run; a row that does more has fewer tokens, and then fewer runs.
        most: a row that does more than this is left out.
        cache_bytes: the copies of a KV cache.
    """

    usual: float
    most: float
    cache_bytes: float


LIMITS = {"cpu": Limits(1.5e12, 8e12, 4e9), "cuda": Limits(5e14, 2e15, 3e10)}


class Sizes(NamedTuple):
    """The sizes of a subject.

    Attributes:
        lm: parameters that a token of the language model goes through.
        trunk: parameters of a trunk beside it.
        cache_bytes: of one token in the trunk's KV cache.
        adapters: whether the trunk is made of the model's own layers and adapters.
        drafts: what can draft for the model.
    """

    lm: int
    trunk: int
    cache_bytes: int
    adapters: bool = True
    drafts: frozenset[str] = frozenset({LOOKUP})


class Case(NamedTuple):
    """A row in a table.

    Attributes:
        row: the row.
        setting: the table.
        tokens: tokens of each text.
        repeats: timed runs.
    """

    row: Row
    setting: Setting
    tokens: int
    repeats: int


class LeftOut(NamedTuple):
    """A row that a table has no place for, and why."""

    row: Row
    setting: Setting
    reason: str


def sizes_of(subject: Subject) -> Sizes:
    """The sizes of a subject."""
    of_token = subject.layers * cache_bytes(subject.base)
    drafts = frozenset(subject.proposers)
    return Sizes(subject.weights_read, subject.trunk_weights, of_token, subject.base is subject.lm, drafts)


def cache_bytes(lm: FrozenLM) -> int:
    """The bytes of a token's keys and values in one layer."""
    config = lm.body.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * heads * size * lm.model.dtype.itemsize


def plan(
    rows: Sequence[Row], settings: Sequence[Setting], tokens: int, repeats: int, sizes: Sizes, limits: Limits
) -> Iterator[Case | LeftOut]:
    """Yield each row of each table as it is measured, or why it is left out.

    Args:
        rows: the rows, in order.
        settings: the tables.
        tokens, repeats: what was asked for; a slow row gets fewer.
        sizes: the sizes of the subject.
        limits: what a run may take.
    """
    for setting in settings:
        for row in rows:
            reason = unfit(row, setting, sizes, limits)
            yield LeftOut(row, setting, reason) if reason else _case(row, setting, tokens, repeats, sizes, limits)


def unfit(row: Row, setting: Setting, sizes: Sizes, limits: Limits) -> str:
    """Why a row cannot be measured in a table; empty if it can."""
    if row.own_steers and setting.batch < 2:
        return "a batch of one has one steer"
    if row.speculate is not None and row.speculate not in sizes.drafts:
        return "no draft head ships for the model"
    if row.reward is not None and row.reward.merge_adapters is not None and not sizes.adapters:
        return "the trunk is a smaller model without adapters"
    if row.reward is not None and row.reward.runs_candidates and setting.top_k > MAX_CANDIDATES:
        return f"RAD runs at most {MAX_CANDIDATES} candidates"
    if row.reward is not None and row.reward.by == "cached calls":
        copies = setting.batch * setting.top_k * (setting.prompt_tokens + FEWEST_TOKENS) * sizes.cache_bytes
        if copies > limits.cache_bytes:
            return f"the {setting.batch * setting.top_k} caches would take {copies / 1e9:.0f} GB"
    least = operations(row, setting, FEWEST_TOKENS, sizes)
    if least > limits.most:
        of_run = f"one run of {FEWEST_TOKENS} tokens takes {least / 1e12:.1f} TFLOP"
        return f"{of_run}, expected at most {limits.most / 1e12:.0f}"
    return ""


def operations(row: Row, setting: Setting, tokens: int, sizes: Sizes) -> float:
    """The floating-point operations of one run."""
    batch, prompt, k = setting
    of_lm = batch * (prompt + tokens - 1)
    return 2.0 * (of_lm * sizes.lm + _trunk_tokens(row, batch, prompt, k, tokens) * sizes.trunk)


def _trunk_tokens(row: Row, batch: int, prompt: int, k: int, tokens: int) -> float:
    """The tokens that go through a trunk beside the model."""
    if row.reward is None or row.reward.recipe.trunk not in ("lora", "full"):
        return 0
    if not row.reward.runs_candidates:
        return batch * (prompt + tokens - 1)
    if row.reward.by == "re-encoding":
        return tokens * batch * k * (prompt + tokens / 2)
    return batch * (prompt + tokens * k)


def _case(row: Row, setting: Setting, tokens: int, repeats: int, sizes: Sizes, limits: Limits) -> Case:
    """As many tokens as one run may take, then as many runs."""
    room = max(limits.usual, SPARE * operations(row, setting, FEWEST_TOKENS, sizes))
    while tokens > FEWEST_TOKENS and operations(row, setting, tokens, sizes) > room:
        tokens -= 1
    runs = int(RUNS * limits.usual / operations(row, setting, tokens, sizes))
    return Case(row, setting, tokens, max(1, min(repeats, runs)))
