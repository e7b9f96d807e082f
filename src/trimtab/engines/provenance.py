"""What made a text: enough to say which weights steered it, and to write it again."""

from dataclasses import asdict
from typing import Any

from trimtab.engines.base import Engine
from trimtab.engines.sampling_params import SamplingParams
from trimtab.models.codec import TextCodec, TokenizerCodec
from trimtab.steering.steer import Steer
from trimtab.versions import PACKAGES, versions

MACHINE = (*PACKAGES, "device")  # fields that say where a text was written, not what it is
LATER = ("weights_sha256", "card_fingerprint")  # hashes of rewards, which records of older versions lack


def place_of(engine: Engine) -> dict[str, str]:
    """Return the dtype and the device in which an engine's model is now; empty if the model is in another process.

    A record is made when it is looked at, because hashing takes time; these two are noted when a text is written.
    """
    base = engine.base
    return {} if base is None else {"dtype": base.dtype, "device": str(base.device)}


def template_options(codec: TextCodec) -> dict[str, Any]:
    """Return the variables of the chat template that prompts are rendered with; empty if there are none."""
    options = codec.chat_template_kwargs if isinstance(codec, TokenizerCodec) else {}
    return {"chat_template_kwargs": options} if options else {}


def provenance(
    engine: Engine, steer: Steer | None = None, params: SamplingParams | None = None, **more: Any
) -> dict[str, Any]:
    """Return the record of what writes a text, ready for JSON.

    Args:
        engine: gives its name, the model, its fingerprint, dtype and device.
        steer: gives the rewards with their fingerprints, directions and β.
        params: how it is sampled, with the seed.
        more: further fields, such as a judge and the settings of a search.
    """
    record: dict[str, Any] = {**versions(), **engine.describe(), "steer": steer.describe() if steer else []}
    if params is not None:
        record["sampling"] = asdict(params)
    return record | more
