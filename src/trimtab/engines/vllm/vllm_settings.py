"""What trimtab reads from vLLM's configuration: `additional_config={"trimtab": {…}}`."""

from typing import TYPE_CHECKING, Any

from trimtab.rewards.taps import even_taps

if TYPE_CHECKING:
    from vllm.config import VllmConfig

SECTION = "trimtab"
USUAL_TAPS = 10  # depths of the ladders that `trimtab train` makes


def section_of(config: "VllmConfig") -> dict[str, Any]:
    """The settings in a configuration of vLLM; empty if there are none."""
    about = config.additional_config
    return dict(about.get(SECTION, {})) if isinstance(about, dict) else {}


def taps_of(config: "VllmConfig") -> list[int]:
    """The depths whose hidden states the model keeps: the setting `taps`, or those of every reward that comes along."""
    layers = config.model_config.hf_text_config.num_hidden_layers
    return sorted(section_of(config).get("taps") or usual_taps(layers))


def usual_taps(layers: int) -> list[int]:
    """The depths that rewards read in a model of this many layers: evenly spaced, and those of bundled rewards."""
    from trimtab.rewards.registry import bundled_rewards

    cards = bundled_rewards().values()
    own = {card.layers for card in cards if card.trunk == "frozen" and card.layers <= layers}
    rungs = {tap for card in cards if card.trunk == "ladder" and card.layers == layers for tap in card.taps}
    return sorted(own | rungs | set(even_taps(layers, min(USUAL_TAPS, layers))))
