"""What trimtab reads from vLLM's configuration: `additional_config={"trimtab": {…}}`."""

from typing import TYPE_CHECKING, Any

from trimtab.rewards.taps import even_taps

if TYPE_CHECKING:
    from vllm.config import VllmConfig

SECTION = "trimtab"
USUAL_TAPS = 10  # depths of a ladder; `trimtab adapt` reads one for every two layers up to here


def section_of(config: "VllmConfig") -> dict[str, Any]:
    """The settings in a configuration of vLLM; empty if there are none."""
    about = config.additional_config
    return dict(about.get(SECTION, {})) if isinstance(about, dict) else {}


def layers_of(config: "VllmConfig") -> int:
    """The number of the model's layers."""
    layers: int = config.model_config.hf_text_config.num_hidden_layers
    return layers


def taps_of(config: "VllmConfig") -> list[int]:
    """The depths whose hidden states the model is to keep: the setting `taps`, or those of every bundled reward."""
    return sorted(section_of(config).get("taps") or usual_taps(layers_of(config)))


def usual_taps(layers: int) -> list[int]:
    """The depths that rewards read in a model of this many layers: those of bundled rewards and of new ladders."""
    from trimtab.rewards.registry import bundled_rewards

    cards = bundled_rewards().values()
    own = {card.layers for card in cards if card.trunk == "frozen" and card.layers <= layers}
    rungs = {tap for card in cards if card.trunk == "ladder" and card.layers == layers for tap in card.taps}
    counts = {min(USUAL_TAPS, layers), min(USUAL_TAPS, (layers + 1) // 2)}
    return sorted(own | rungs | {tap for count in counts for tap in even_taps(layers, count)})
