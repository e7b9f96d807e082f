"""vLLM's model classes, which here keep the hidden states of each step for rewards. They are named `Trimtab…`.

The classes are made when they are first asked for: `TrimtabLlamaForCausalLM` is a `LlamaForCausalLM`. vLLM finds them
by module and name, also in processes that it starts.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trimtab.engines.vllm.step_record import StepRecord, keep_step
from trimtab.engines.vllm.vllm_settings import layers_of, taps_of
from trimtab.models.side_network import LAST

if TYPE_CHECKING:
    from vllm.config import VllmConfig

PREFIX = "Trimtab"


class KeepsHiddenStates(nn.Module):
    """The part of the classes that is ours; a class of vLLM follows it in their order of bases."""

    def __init__(self, *, vllm_config: "VllmConfig", prefix: str = "", **options: Any):
        super().__init__(vllm_config=vllm_config, prefix=prefix, **options)
        self._layers = layers_of(vllm_config)
        self._taps = _below_the_top(type(self), vllm_config)
        if self._taps:
            self.set_aux_hidden_state_layers(tuple(self._taps))  # type: ignore[operator]  # a method of vLLM's class

    def forward(self, input_ids: Tensor, positions: Tensor, *inputs: Any, **options: Any) -> Any:
        """vLLM's own output, without the states of the layers below the top."""
        output = super().forward(input_ids, positions, *inputs, **options)
        hidden, tapped = output if isinstance(output, tuple) else (output, [])
        starts = _starts()
        if isinstance(hidden, Tensor) and starts is not None:
            states = dict(zip(self._taps, tapped, strict=True)) | {LAST: hidden, self._layers: hidden}
            keep_step(StepRecord(positions, starts, states))
        return hidden


def kept_depths(config: "VllmConfig") -> list[int]:
    """The depths whose hidden states the model of a configuration keeps. The last is the top, after the final norm."""
    from vllm import ModelRegistry

    architecture = config.model_config.hf_config.architectures[0]
    kind = ModelRegistry.models[architecture].load_model_cls()
    return [*_below_the_top(kind, config), layers_of(config)]


def _below_the_top(kind: type[nn.Module], config: "VllmConfig") -> list[int]:
    """The kept depths below the top: none if the class does not return states for EAGLE-3."""
    able = hasattr(kind, "set_aux_hidden_state_layers")
    return [depth for depth in taps_of(config) if able and depth < layers_of(config)]


def _starts() -> Tensor | None:
    """Where the tokens of each request start; None while vLLM measures its memory."""
    from vllm.forward_context import get_forward_context

    about = get_forward_context().attn_metadata
    if not about:
        return None
    found = next(iter(about.values())).query_start_loc
    assert isinstance(found, torch.Tensor)
    return found


def tapped_class(architecture: str) -> type[nn.Module]:
    """The class that is one of vLLM's and keeps hidden states.

    Args:
        architecture: the name of vLLM's, such as LlamaForCausalLM.
    """
    from vllm import ModelRegistry

    theirs = ModelRegistry.models[architecture].load_model_cls()
    return type(PREFIX + architecture, (KeepsHiddenStates, theirs), {"__module__": __name__})


def __getattr__(name: str) -> type[nn.Module]:
    """The class of a name; it stays in this module, so that there is one of each."""
    if not name.startswith(PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = tapped_class(name.removeprefix(PREFIX))
    return found
