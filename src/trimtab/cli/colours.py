"""Tokens coloured by their reward: red is low, green is high."""

from collections.abc import Sequence

from rich.text import Text


def coloured(prompt: str, tokens: Sequence[str], rewards: Sequence[float]) -> Text:
    """A prompt, dim, and its continuation, each token on the colour of its reward."""
    text = Text(prompt, style="dim")
    for token, reward in zip(tokens, rewards, strict=True):
        text.append(token, style=f"black on {colour(reward)}")
    return text


def legend(name: str, rewards: Sequence[float]) -> Text:
    """The name of a reward with its scale and the mean over the tokens."""
    text = Text(f"  {name} ", style="dim")
    for step in range(11):
        text.append(" ", style=f"on {colour(step / 10)}")
    return text.append(f" 0…1, mean {sum(rewards) / len(rewards):.3f}")


def colour(reward: float) -> str:
    """From red at 0 over yellow at ½ to green at 1; beyond, as at the ends."""
    share = min(max(reward, 0.0), 1.0)
    red, green = min(1.0, 2 * (1 - share)), min(1.0, 2 * share)
    return f"#{int(100 + 155 * red):02x}{int(100 + 155 * green):02x}64"
