"""Engines turn prompts and steers into text: one protocol, the torch engine, one adapter for transformers."""

from typing import TYPE_CHECKING

from trimtab.lazy import lazy_exports

if TYPE_CHECKING:
    from trimtab.engines.base import Choice, Chunk, Continuation, Engine, Request, Scored
    from trimtab.engines.processor import SteeringProcessor
    from trimtab.engines.sampling_params import SamplingParams
    from trimtab.engines.torch.engine import TorchEngine
    from trimtab.engines.torch.running_batch import RunningBatch

__all__ = [
    "Choice",
    "Chunk",
    "Continuation",
    "Engine",
    "Request",
    "RunningBatch",
    "SamplingParams",
    "Scored",
    "SteeringProcessor",
    "TorchEngine",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Choice": "trimtab.engines.base",
        "Chunk": "trimtab.engines.base",
        "Continuation": "trimtab.engines.base",
        "Engine": "trimtab.engines.base",
        "Request": "trimtab.engines.base",
        "RunningBatch": "trimtab.engines.torch.running_batch",
        "SamplingParams": "trimtab.engines.sampling_params",
        "Scored": "trimtab.engines.base",
        "SteeringProcessor": "trimtab.engines.processor",
        "TorchEngine": "trimtab.engines.torch.engine",
    },
)
