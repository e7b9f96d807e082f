"""The longest sequence of a model: what its positions allow, told by its config."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

LENGTH_DEPENDENT = ("longrope", "dynamic")  # rotary positions that change for all tokens when a text grows


def context_length(config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerBase") -> int:
    """The longest sequence that a model reads, in tokens; the tokenizer's limit if positions have none.

    Rotary positions of the kinds "longrope" (Phi-3 of 128k) and "dynamic" change for all tokens of a batch when one
    text passes the original context. Keys in a cache would then be those of other positions, and a text would depend
    on its batch. So the original context is the limit.
    """
    text = config.get_text_config()
    longest = getattr(text, "max_position_embeddings", None) or tokenizer.model_max_length
    return int(min([longest, *original_contexts(getattr(text, "rope_parameters", None) or {})]))


def original_contexts(rope: Mapping[str, Any]) -> list[int]:
    """The lengths at which rotary positions change: one for each kind of layers that has such positions.

    Args:
        rope: the parameters of the rotary positions, or those of each kind of layers.
    """
    kinds = [rope, *(each for each in rope.values() if isinstance(each, Mapping))]
    changing = [each for each in kinds if each.get("rope_type", each.get("type")) in LENGTH_DEPENDENT]
    lengths = [each.get("original_max_position_embeddings") for each in changing]
    return [length for length in lengths if length]
