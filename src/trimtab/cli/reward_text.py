"""A text with its rewards: coloured on a terminal, a table of numbers elsewhere. Green goes the way of the steer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trimtab.cli.console import colour, print_text
from trimtab.data.visible import legible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trimtab.generation import Generation
    from trimtab.steering.steer import Steer, Term

RAMP = 11  # colours of the legend, from red to green
Rewards = Mapping[str, Sequence[float]]  # "reward:attribute" to the reward of each token


class SteeredReward(NamedTuple):
    """One term of a steer, with its rewards.

    Attributes:
        name: "reward:attribute".
        beta: β; below 0 it steers away.
        mean: the mean reward of the tokens, as the reward gives it.
        shares: for each token, the place of its clamped reward in the range: 1 where the steer pushes, 0 opposite.
    """

    name: str
    beta: float
    mean: float
    shares: Sequence[float]

    @property
    def meaning(self) -> str:
        """The direction and strength, in words."""
        return f"{'away' if self.beta < 0 else 'toward'}, β {abs(self.beta):g}"


def print_rewards(console: "Console", prompt: str, tokens: Sequence[str], rewards: Rewards, steer: "Steer") -> None:
    """Print a prompt and its continuation once, with the rewards of each token.

    On a terminal with colours, a token's colour is the mean over the terms of the steer, weighted by β: green goes the
    way of the steer, red against it. Elsewhere, and with NO_COLOR, the text is followed by a table of numbers.

    Args:
        console: the console of stdout.
        prompt: the prompt as text.
        tokens: the texts of the continuation's tokens.
        rewards: the rewards of each token; for each term of the steer, under "reward:attribute".
        steer: what the continuation was steered by.
    """
    terms = steered_rewards(rewards, steer)
    shares = combined(terms, len(tokens))
    if console.is_terminal and console.color_system and not console.no_color:
        console.print(coloured_text(prompt, tokens, shares))
        console.print(legend(terms))
        return
    print_text(console, prompt + "".join(tokens))
    print_text(console, table(tokens, rewards, terms, shares))


def token_texts(sample: "Generation") -> list[str]:
    """Return the texts of a sample's tokens, without the stop string that may have ended it."""
    texts, left = [], len(sample.text)
    for token in sample.trace:
        texts.append(token.text[:left])
        left -= len(texts[-1])
    return texts


def steered_rewards(rewards: Rewards, steer: "Steer") -> list[SteeredReward]:
    """Return the terms of a steer with their rewards; a term without rewards is left out."""
    from trimtab.engines.reward_names import name_rewards
    from trimtab.steering.steer import distinct_rewards

    names = {id(reward): name for name, reward in name_rewards(distinct_rewards([steer])).items()}
    found = []
    for term in steer.terms:
        name = f"{names[id(term.reward)]}:{term.reward.attributes[term.attribute]}"
        if values := rewards.get(name):
            beta = term.strength
            found.append(SteeredReward(name, beta, sum(values) / len(values), _shares(values, term)))
    return found


def combined(terms: Sequence[SteeredReward], tokens: int) -> list[float]:
    """Return the mean of the shares of each token over the terms, weighted by |β|; ½ without any term."""
    weights = [abs(term.beta) for term in terms]
    if not sum(weights):
        weights = [1.0] * len(terms)
    columns = zip(*(term.shares for term in terms), strict=True) if terms else [()] * tokens
    return [
        sum(weight * share for weight, share in zip(weights, column, strict=True)) / sum(weights) if column else 0.5
        for column in columns
    ]


def coloured_text(prompt: str, tokens: Sequence[str], shares: Sequence[float]) -> "Text":
    """Return a dimmed prompt and its continuation, each token on the colour of its share."""
    from rich.text import Text

    text = Text.assemble((legible(prompt), "dim"))
    for token, share in zip(tokens, shares, strict=True):
        text.append(legible(token), style=f"black on {colour(share)}")
    return text


def legend(terms: Sequence[SteeredReward]) -> "Text":
    """Return what the colours mean, and on a line for each term its direction and its mean reward."""
    from rich.text import Text

    text = Text("  against the steer ", style="dim")
    for step in range(RAMP):
        text.append(" ", style=f"on {colour(step / (RAMP - 1))}")
    text.append(" with it", style="dim")
    for term in terms:
        text.append(f"\n  {legible(term.name, keep='')}: {term.meaning}, mean reward {term.mean:.3f}")
    return text


def table(tokens: Sequence[str], rewards: Rewards, terms: Sequence[SteeredReward], shares: Sequence[float]) -> str:
    """Return aligned columns: the rewards of each token, and how far it goes the way of the steer, from 0 to 1."""
    heads = [*(f"{legible(term.name, keep='')} ({term.meaning})" for term in terms), "with the steer"]
    columns = [*(rewards[term.name] for term in terms), shares]
    names = [legible(repr(token), keep="") for token in tokens]
    rows = [[f"{value:.4f}" for value in row] for row in zip(*columns, strict=True)]
    means = [f"{sum(column) / len(column):.4f}" if column else "" for column in columns]
    first = max(map(len, ["token", "mean", *names]))
    lines = [("token", heads), *zip(names, rows, strict=True), ("mean", means)]
    return "\n".join(
        f"{name:<{first}}" + "".join(f"  {cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        for name, cells in lines
    )


def _shares(values: Sequence[float], term: "Term") -> list[float]:
    """The place of each reward in the term's range; of a term without one, in the range of these rewards."""
    low, high = term.clamp or (min(values), max(values))
    width = high - low
    places = [(min(max(value, low), high) - low) / width if width else 0.5 for value in values]
    return [1 - place for place in places] if term.away != (term.beta < 0) else places
