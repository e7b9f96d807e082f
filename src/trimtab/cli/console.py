"""The stderr console, and tokens coloured by their reward: red is low, green is high. Rich is imported on demand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LEGEND_STEPS = 10


def error_console() -> "Console":
    """Return the stderr console: progress, warnings and measurements. Results go to stdout."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def coloured(prompt: str, tokens: Sequence[str], rewards: Sequence[float]) -> "Text":
    """Return a dimmed prompt and its continuation, each token on the colour of its reward."""
    from rich.text import Text

    text = Text.assemble((prompt, "dim"))
    for token, reward in zip(tokens, rewards, strict=True):
        text.append(token, style=f"black on {colour(reward)}")
    return text


def legend(name: str, rewards: Sequence[float]) -> "Text":
    """Return the name of a reward, the colours from 0 to 1, and the mean over the tokens."""
    from rich.text import Text

    text = Text(f"  {name} ", style="dim")
    for step in range(LEGEND_STEPS + 1):
        text.append(" ", style=f"on {colour(step / LEGEND_STEPS)}")
    return text.append(f" 0…1, mean {sum(rewards) / len(rewards):.3f}")


def colour(reward: float) -> str:
    """Return a hex colour: red at 0, yellow at ½, green at 1. Rewards outside [0, 1] get the nearer end's colour."""
    share = min(max(reward, 0.0), 1.0)
    red, green = min(1.0, 2 * (1 - share)), min(1.0, 2 * share)
    return f"#{int(100 + 155 * red):02x}{int(100 + 155 * green):02x}64"
