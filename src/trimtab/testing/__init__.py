"""The laws that every reward, trunk and engine must keep, as assertions, and an engine that needs no model.

Each law compares with an independent computation: a forward call without a cache, one row at a time, or transformers'
own `generate`. Run them on a reward, a judge or an engine of your own.

The laws about batches, prefix caches and threads hold in float32, up to ties that rounding breaks. In bfloat16 rounding
changes with the shape of a batch, and texts with it. `TorchEngine(base, batch_invariant=True)` keeps the laws about
batches in every dtype.
"""

from trimtab.testing.engine_laws import (
    assert_budget_is_kept,
    assert_constant_changes_nothing,
    assert_greedy_equals_transformers,
    assert_halves_add_up,
    assert_joining_changes_nothing,
    assert_search_ignores_company,
    assert_seeded_ignores_batch,
    assert_stream_equals_sample,
    assert_threads_change_nothing,
    assert_zero_beta_is_plain,
)
from trimtab.testing.model_laws import (
    TOLERANCE,
    assert_host_cache_rewinds,
    assert_packed_equals_alone,
    assert_prefix_cache_changes_nothing,
)
from trimtab.testing.reward_laws import (
    assert_accepted_column_equals_fed,
    assert_batched_equals_single,
    assert_cached_equals_recomputed,
    assert_candidates_equal_separate,
    assert_candidates_equal_vocabulary,
    assert_forks_are_independent,
    assert_hosted_equals_separate,
    assert_joined_states_equal_separate,
    assert_padding_changes_nothing,
    assert_rollback_replays,
    assert_save_load_identical,
    separate_rewards,
)
from trimtab.testing.scripted_engine import ScriptedEngine, WordCodec, WordReward
from trimtab.testing.speculation_law import assert_speculation_changes_nothing

__all__ = [
    "TOLERANCE",
    "ScriptedEngine",
    "WordCodec",
    "WordReward",
    "assert_accepted_column_equals_fed",
    "assert_batched_equals_single",
    "assert_budget_is_kept",
    "assert_cached_equals_recomputed",
    "assert_candidates_equal_separate",
    "assert_candidates_equal_vocabulary",
    "assert_constant_changes_nothing",
    "assert_forks_are_independent",
    "assert_greedy_equals_transformers",
    "assert_halves_add_up",
    "assert_host_cache_rewinds",
    "assert_hosted_equals_separate",
    "assert_joined_states_equal_separate",
    "assert_joining_changes_nothing",
    "assert_packed_equals_alone",
    "assert_padding_changes_nothing",
    "assert_prefix_cache_changes_nothing",
    "assert_rollback_replays",
    "assert_save_load_identical",
    "assert_search_ignores_company",
    "assert_seeded_ignores_batch",
    "assert_speculation_changes_nothing",
    "assert_stream_equals_sample",
    "assert_threads_change_nothing",
    "assert_zero_beta_is_plain",
    "separate_rewards",
]
