"""Start vLLM in this process with trimtab in it."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimtab.checking import shown
from trimtab.data.hub import reason_of
from trimtab.engines.vllm.tapped_models import PREFIX
from trimtab.engines.vllm.vllm_settings import SECTION
from trimtab.errors import InvalidSetting, UnsupportedModel, out_of_memory
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.loading import find_model

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

PROCESSOR = "trimtab.engines.vllm.processor:SteeringProcessor"
OURS = ("model", "dtype", "logits_processors", "hf_overrides", "skip_tokenizer_init", "async_scheduling", "tokenizer")


def check_options(options: Mapping[str, object]) -> None:
    """Refuse options of vLLM that trimtab sets itself, before anything loads.

    Raises:
        InvalidSetting: one is among them.
    """
    if wrong := [name for name in options if name in OURS]:
        raise InvalidSetting(f"got {shown(wrong[0])} in engine_options, expected others: trimtab sets it itself")


def start_vllm(base: FrozenLM, options: Mapping[str, object]) -> "LLMEngine":
    """vLLM's engine over the weights of a model that is loaded here, in the same dtype.

    Args:
        base: the model, for its name, dtype and architecture.
        options: fields of vLLM's `EngineArgs`; and `taps`, the depths whose hidden states the model keeps.

    Raises:
        UnsupportedModel: vLLM cannot run it, or not with these options.
    """
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # rewards and requests are objects of this process
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    given: dict[str, Any] = dict(options)
    section = {"embedded": True} | ({"taps": list(given.pop("taps"))} if "taps" in given else {})
    folder = find_model(base.name, weights=True)
    try:
        arguments = EngineArgs(
            model=str(folder),
            dtype=base.dtype,
            logits_processors=[PROCESSOR],
            hf_overrides={"architectures": [PREFIX + type(base.model).__name__]},
            skip_tokenizer_init=True,
            async_scheduling=False,
            additional_config={SECTION: section},
            **{"disable_log_stats": True, "distributed_executor_backend": "uni", **given},
        )
        return LLMEngine.from_engine_args(arguments)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UnsupportedModel(
            f"cannot run {base.name!r} with the engine vllm ({reason_of(error)}); use engine='torch'"
        ) from error
