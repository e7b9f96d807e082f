"""The entry point by which vLLM learns trimtab's model classes, in every process that it starts."""

from trimtab.engines.vllm.tapped_models import PREFIX

MODULE = "trimtab.engines.vllm.tapped_models"
GENERATES = "ForCausalLM"


def register() -> None:
    """Register a class `Trimtab…` for each of vLLM's decoders. Nothing is imported until one of them is used."""
    from vllm import ModelRegistry

    for architecture in list(ModelRegistry.models):
        if architecture.endswith(GENERATES) and not architecture.startswith(PREFIX):
            ModelRegistry.register_model(PREFIX + architecture, f"{MODULE}:{PREFIX}{architecture}")
