"""Which models can be steered: told by the config before weights are read, and by two forward calls of the model."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import ModelOutput

from trimtab.data.hub import reason_of
from trimtab.errors import UnsupportedModel, out_of_memory
from trimtab.models.grouped_attention import GROUPED, USUAL
from trimtab.models.layers import find_decoder, find_final_norm, find_layers
from trimtab.models.masks import attention_masks
from trimtab.models.quantized import is_plain_matrix, is_quantized

REWINDABLE_ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")
MASKED_ATTENTION = (USUAL, GROUPED, "eager")  # the implementations that take a mask for each token
NOISE = 1e-3  # of the largest logit: more than kernels and experts differ by in float32, less than attention does
QUANTIZED_NOISE = 0.1  # of the largest logit: activations may be rounded to 8 bits, by the scale of a whole call
PROBE = ((1, 2, 3, 4), (1, 5, 6, 7))  # two texts with the same first token


def check_config(config: PretrainedConfig) -> None:
    """Refuse an architecture that cannot be steered, before its weights are read.

    Raises:
        UnsupportedModel: an encoder, an encoder-decoder, no language model, or a state that cannot be rewound.
    """
    kind = f"a model of type {config.model_type!r}"
    _check_decoder(kind, config)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModel(f"got {kind}, which has no causal language model in transformers; expected one that has")
    architecture = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    _check_state(kind, config, getattr(architecture, "_is_stateful", False))


def check_architecture(model: PreTrainedModel) -> None:
    """Refuse a loaded model that cannot be steered, before it runs.

    Raises:
        UnsupportedModel: as in `check_config`; or its attention takes no masks, it has no output embedding, its layers
            are not found, or its weights are not in memory.
    """
    kind, config = type(model).__name__, model.config
    _check_decoder(kind, config)
    _check_state(kind, config, getattr(model, "_is_stateful", False))
    attention = config.get_text_config()._attn_implementation
    if attention not in MASKED_ATTENTION:
        raise UnsupportedModel(
            f"got {kind} with attn_implementation={attention!r}, which takes no mask for each token; load it with "
            "attn_implementation='sdpa'"
        )
    if any(weight.is_meta for weight in model.parameters()):
        raise UnsupportedModel(
            f"got {kind} with weights that are not in memory; expected a device_map without 'disk' and 'meta'"
        )
    _check_output_embedding(model)
    body = find_decoder(model)
    find_layers(body)
    find_final_norm(body)


@torch.inference_mode()
def check_decoding(model: PreTrainedModel) -> None:
    """Check by two forward calls that a model reads from left to right, and obeys masks and positions.

    The first call reads two texts that start with the same token. The second gives each text the second token of the
    other as a candidate behind the first token, which must have the logits that it has in its own text.

    Raises:
        UnsupportedModel: the model does not, or its logits are NaN or infinite, or it cannot run so at all.
    """
    kind, cache = type(model).__name__, DynamicCache()
    ids = torch.tensor(PROBE, device=model.device) % model.get_input_embeddings().weight.shape[0]
    output = _run(model, input_ids=ids, past_key_values=cache, use_cache=True, output_hidden_states=True)
    logits = output.logits.float()
    if not bool(logits.amax(-1).isfinite().all()):  # −inf is for tokens that the model never writes
        raise UnsupportedModel(
            f"got {kind}, whose logits are NaN or infinite, expected finite numbers; load it in float32, or fetch it "
            "again"
        )
    noise = max(QUANTIZED_NOISE if is_quantized(model) else NOISE, 8 * torch.finfo(model.dtype).eps)
    if not _alike(logits[0, 0], logits[1, 0], noise):
        raise UnsupportedModel(
            f"got {kind}, whose logits depend on later tokens; expected a decoder, which reads from left to right (an "
            "encoder such as BERT cannot write)"
        )
    _check_hidden_states(kind, output, len(find_layers(find_decoder(model))))
    found = _behind_the_first(model, ids[:, 1:2].flip(0), cache).flip(0)
    if not _alike(found, logits[:, 1], noise):
        raise UnsupportedModel(
            f"got {kind}, whose logits ignore masks or positions; expected attention that obeys a mask for each token"
        )


def _check_decoder(kind: str, config: PretrainedConfig) -> None:
    if config.is_encoder_decoder:
        raise UnsupportedModel(f"got {kind}, an encoder-decoder; expected a decoder-only language model")
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise UnsupportedModel(f"got {kind}, an encoder, which cannot write; expected a decoder-only language model")


def _check_state(kind: str, config: PretrainedConfig, stateful: bool) -> None:
    """Refuse layers whose state is no list of keys and values, from which the last tokens can be taken back."""
    text = config.get_text_config()
    kinds = sorted(set(getattr(text, "layer_types", None) or ()) - set(REWINDABLE_ATTENTION))
    if "local" in getattr(text, "attention_layers", ()):
        kinds = ["local attention that counts columns"]  # GPT-Neo's masks know no candidates and no packed texts
    if kinds or stateful:
        found = ", ".join(kinds) or "a recurrent state"
        raise UnsupportedModel(
            f"got {kind} with {found}; expected only {', '.join(REWINDABLE_ATTENTION)}, because a state that cannot be "
            "cropped cannot be steered back"
        )


def _check_output_embedding(model: PreTrainedModel) -> None:
    kind, head = type(model).__name__, model.get_output_embeddings()
    if head is None:
        raise UnsupportedModel(
            f"got {kind}, which has no language-model head; load the model with AutoModelForCausalLM"
        )
    if not is_plain_matrix(getattr(head, "weight", None)):
        raise UnsupportedModel(
            f"got {kind}, whose language-model head is a {type(head).__name__} without a matrix of floating-point "
            "weights; leave the head out when the model is quantized"
        )


def _check_hidden_states(kind: str, output: ModelOutput, layers: int) -> None:
    """Refuse a model that hides the states of its layers, or that has several for each token."""
    shapes = [tuple(each.shape[:-1]) for each in output.get("hidden_states") or ()]
    expected = (len(PROBE), len(PROBE[0]))
    if shapes != [expected] * (layers + 1):
        raise UnsupportedModel(
            f"got {kind}, whose hidden states have the shapes {sorted(set(shapes))} × hidden, expected {layers + 1} of "
            f"{expected}: one for each token after each layer"
        )


def _behind_the_first(model: PreTrainedModel, candidates: Tensor, cache: DynamicCache) -> Tensor:
    """The logits of a candidate for the second token of each text; it sees the first token and itself."""
    length = len(PROBE[0])
    visible = torch.tensor([True, *[False] * (length - 1), True], device=model.device).expand(2, 1, -1)
    columns = torch.tensor([*range(length), 1], device=model.device).expand(2, -1)
    position = torch.ones_like(candidates)
    mask = attention_masks(model, visible, columns, position)
    output = _run(
        model,
        input_ids=candidates,
        position_ids=position,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1].float()
    return logits


def _run(model: PreTrainedModel, **inputs: Any) -> ModelOutput:
    try:
        return model(**inputs)
    except Exception as error:  # the code is the architecture's
        if out_of_memory(error):
            raise
        raise UnsupportedModel(
            f"got {type(model).__name__}, which cannot run with a KV cache under a mask for each token: "
            f"{reason_of(error)}"
        ) from error


def _alike(found: Tensor, expected: Tensor, noise: float) -> bool:
    """Whether logits are equal up to noise; −inf is for tokens that the model never writes."""
    found, expected = (each.masked_fill(each.isneginf(), 0) for each in (found, expected))
    return bool((found - expected).abs().max() <= noise * expected.abs().max())
