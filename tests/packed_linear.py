"""Linear maps with weights of 8 bits, in the shapes in which quantizers leave them: no plain matrix of numbers."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trimtab.models.layers import find_decoder, find_layers


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers, and the scale of each row."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round().to(torch.int8), scale


class FlatLinear(nn.Linear):
    """As bitsandbytes does: a Linear whose weight is a flat parameter of whole numbers."""

    def __init__(self, linear: nn.Linear):
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        packed, scale = rounded(linear.weight.data)
        self.weight = nn.Parameter(packed.reshape(-1, 1), requires_grad=False)
        self.bias = linear.bias
        self.register_buffer("scale", scale)

    def forward(self, states: Tensor) -> Tensor:
        """Multiply by the weights, unpacked."""
        weight = self.weight.reshape(self.out_features, self.in_features).float() * self.scale
        return nn.functional.linear(states, weight, self.bias)


class BufferLinear(nn.Module):
    """As GPTQ's modules do: no Linear, and no parameters, but buffers."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        packed, scale = rounded(linear.weight.data)
        self.register_buffer("qweight", packed)
        self.register_buffer("scales", scale)
        self.bias = linear.bias

    def forward(self, states: Tensor) -> Tensor:
        """Multiply by the weights, unpacked."""
        return nn.functional.linear(states, self.qweight.float() * self.scales, self.bias)


def pack(model: PreTrainedModel, kind: str) -> PreTrainedModel:
    """Replace the linear maps in the layers of a model; `kind` is "flat", "buffers" or "dynamic" (torch's own)."""
    layers = find_layers(find_decoder(model))
    if kind == "dynamic":
        torch.ao.quantization.quantize_dynamic(layers, {nn.Linear}, inplace=True)
        return model
    packed = {"flat": FlatLinear, "buffers": BufferLinear}[kind]
    for name, part in list(layers.named_modules()):
        if isinstance(part, nn.Linear):
            layers.set_submodule(name, packed(part))
    return model
