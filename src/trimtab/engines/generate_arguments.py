"""What transformers' `generate` gives to a decode loop: which arguments it may have, and what it returns."""

from collections.abc import Mapping
from typing import Any, final

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    GenerateDecoderOnlyOutput,
    LogitNormalization,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from transformers.generation.logits_process import TopHLogitsWarper

from trimtab.checking import shown
from trimtab.engines.processor import SteeringProcessor
from trimtab.errors import InvalidSetting

SAMPLING = (  # what transformers applies when it samples, behind all constraints
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    MinPLogitsWarper,
    TypicalLogitsWarper,
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitNormalization,
)
OTHER_LOOPS = {  # settings of a GenerationConfig that choose another loop, with the values that do not
    "num_beams": (None, 1),
    "use_mtp": (None, False),
    "prompt_lookup_num_tokens": (None,),
    "assistant_early_exit": (None,),
    "penalty_alpha": (None, 0.0),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "cache_implementation": (None, "dynamic", "dynamic_full"),
    "output_attentions": (None, False),
    "output_hidden_states": (None, False),
}
HANDLED = ("attention_mask", "position_ids", "past_key_values", "logits_to_keep", "use_cache", "synced_gpus")


def check_arguments(
    ids: Int[Tensor, "rows slots"], config: GenerationConfig, given: Mapping[str, Any]
) -> Bool[Tensor, "rows slots"]:
    """Refuse what this loop would ignore; returns the mask of the prompts, False where they are padding.

    Args:
        ids: the prompts, left-padded.
        config: the settings of the call.
        given: the arguments for the model's forward.

    Raises:
        InvalidSetting: an argument that this loop does not have, or prompts that it cannot read.
    """
    for name, allowed in OTHER_LOOPS.items():
        if (value := getattr(config, name, None)) not in allowed:
            refuse(name, value)
    for name, value in given.items():
        if name not in HANDLED and value is not None:
            refuse(name, value)
    cache = given.get("past_key_values")
    if given.get("synced_gpus") or (cache is not None and cache.get_seq_length()):
        refuse("synced_gpus" if given.get("synced_gpus") else "past_key_values", "…")
    attention = given.get("attention_mask")
    mask = torch.ones_like(ids, dtype=torch.bool) if attention is None else attention.bool()
    if not ids.shape[1] or not bool(mask[:, -1].all()) or bool((mask[:, :-1] & ~mask[:, 1:]).any()):
        raise InvalidSetting(
            "got prompts without tokens, or padded on the right, expected input_ids padded on the left"
        )
    positions = given.get("position_ids")
    if positions is not None and bool(((mask.cumsum(1) - 1 != positions) & mask).any()):
        refuse("position_ids", "other positions than those of the tokens")
    return mask


def refuse(name: str, value: object) -> None:
    """Refuse an argument of `generate`.

    Raises:
        InvalidSetting: always.
    """
    raise InvalidSetting(
        f"got {name}={shown(value)}, which custom_generate does not support, expected greedy or sampling without it; "
        "use generate with a SteeringProcessor for the rest"
    )


def split_processors(every: LogitsProcessorList) -> tuple[LogitsProcessorList, LogitsProcessorList]:
    """The processors that run before candidates are chosen, and those of sampling, which run after the steer.

    Raises:
        InvalidSetting: a SteeringProcessor is among them.
    """
    if any(isinstance(each, SteeringProcessor) for each in every):
        raise InvalidSetting("got custom_generate and a SteeringProcessor, expected one of them: both would steer")
    first = next((place for place, each in enumerate(every) if isinstance(each, SAMPLING)), len(every))
    return LogitsProcessorList(every[:first]), LogitsProcessorList(every[first:])


@final
class Outputs:
    """What a call returns: the token ids, or with `return_dict_in_generate` an object that also has scores and logits.

    Args:
        config: says what is wanted.

    Attributes:
        scores: z' of each step, after temperature and the like; None if not wanted.
        logits: the model's own of each step; None if not wanted.
    """

    def __init__(self, config: GenerationConfig):
        self._whole = bool(config.return_dict_in_generate)
        self.scores: tuple[Tensor, ...] | None = () if self._whole and config.output_scores else None
        self.logits: tuple[Tensor, ...] | None = () if self._whole and config.output_logits else None

    def add(self, logits: Tensor, scores: Tensor) -> None:
        """Note a step."""
        if self.scores is not None:
            self.scores += (scores,)
        if self.logits is not None:
            self.logits += (logits,)

    def of(self, sequences: Int[Tensor, "rows tokens"]) -> Tensor | GenerateDecoderOnlyOutput:
        """Prompts and new tokens, as `generate` returns them: copies, which callers may change."""
        if not self._whole:
            return sequences.clone()
        return GenerateDecoderOnlyOutput(
            sequences=sequences.clone(), scores=_copies(self.scores), logits=_copies(self.logits)
        )


def _copies(tensors: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
    return None if tensors is None else tuple(each.clone() for each in tensors)
