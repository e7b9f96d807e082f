"""Refuse architectures that cannot be decoded with a rewindable KV cache, by their config and class alone."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from trimtab.errors import UnsupportedModel

REWINDABLE_ATTENTION = {"full_attention", "sliding_attention"}


def check_folder_architecture(folder: Path) -> None:
    """Refuse a model in a folder before its weights are read. A config that names no class is left to the loader.

    Raises:
        UnsupportedModel: as in `check_architecture`, or it is an encoder.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    check_architecture(model_class, config)
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", True):
        raise UnsupportedModel(
            f"got {model_class.__name__}, an encoder; expected a decoder, which reads from left to right (an encoder "
            "such as BERT cannot write)"
        )


def check_architecture(model_class: type[Any], config: PreTrainedConfig) -> None:
    """Refuse an architecture whose KV cache cannot be cropped and re-ordered.

    Raises:
        UnsupportedModel: an encoder-decoder, a recurrent state, or attention in chunks.
    """
    name = model_class.__name__
    if config.is_encoder_decoder:
        raise UnsupportedModel(f"got {name}, an encoder-decoder; expected a decoder-only language model")
    kinds = set(getattr(config, "layer_types", None) or ()) - REWINDABLE_ATTENTION
    if kinds or getattr(model_class, "_is_stateful", False):
        found = ", ".join(sorted(kinds)) or "a recurrent state"
        raise UnsupportedModel(
            f"got {name} with {found}; expected only {', '.join(sorted(REWINDABLE_ATTENTION))}, "
            "because a state that cannot be cropped cannot be steered back"
        )
