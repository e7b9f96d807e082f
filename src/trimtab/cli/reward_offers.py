"""What `trimtab rewards list` says: what each reward serves, and what serves a model. Only cards are read."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trimtab.data.visible import legible
from trimtab.errors import TrimtabError
from trimtab.rewards.base_path import earlier_place, find_base, is_located, may_load, shown_base
from trimtab.rewards.card import RewardCard, read_card
from trimtab.rewards.heads import HEADS, head_kind
from trimtab.rewards.registry import bundled_rewards, find_reward, rewards_for, teaching_reward
from trimtab.rewards.variants import OWN_LAYERS, Fingerprints, name_without_base
from trimtab.steering.notation import USUAL_STRENGTH, usual_steer

if TYPE_CHECKING:
    from trimtab.models.codec import TokenizerCodec

FOLDER = Path("rewards")  # where `trimtab adapt` writes, below the working folder
READY, BESIDE, ADAPT, AT_ONCE = "ready", "ready, runs {base} beside it", "to adapt, in minutes", "at once, slowly"
BY_NAME = "ready, by whole names; the name alone takes the one that fits the model's weights"
NOTE = (
    "The base is the model behind the @, or smollm2. A reward that serves its tokenizer has layers of its own, for "
    "every model of that tokenizer. One that serves its base reads the base's states and costs little there; beside "
    "another model of the tokenizer it runs the base, too. For your model: trimtab rewards list --model MODEL"
)


class Offer(NamedTuple):
    """One way to steer a model.

    Attributes:
        reward: what loads the reward.
        state: whether it is ready, must be adapted, or runs at once.
        command: what to paste.
    """

    reward: str
    state: str
    command: str


def served_by(card: RewardCard) -> str:
    """What a reward serves: its tokenizer, so every model that has it, or its base."""
    return "tokenizer" if card.trunk in OWN_LAYERS else "base"


def offers_for(model: str, codec: "TokenizerCodec") -> list[Offer]:
    """Every way to steer a model by a bundled reward, or by one in ./rewards; what is ready comes first.

    Args:
        model: what loads the model.
        codec: its tokenizer.
    """
    prints = Fingerprints(codec.fingerprint)
    chosen = _chosen_among(prints)
    bundled = {**rewards_for(prints), **chosen}
    cards = {**bundled, **dict(_near())}
    bases = {
        name: find_base(card.base, find_reward(name, prints) if name in bundled else Path(name))
        for name, card in cards.items()
    }
    fitting = {
        name: card
        for name, card in cards.items()
        if card.tokenizer_fingerprint == codec.fingerprint
        and (is_located(earlier_place(bases[name])) or may_load(bases[name], model))
    }
    states = {name: _state(card, bases[name], model) for name, card in fitting.items()}
    by_name = {name: BY_NAME for name in chosen if states.get(name) == READY}
    ready = [
        Offer(name, by_name.get(name, states[name]), steering_command(card, name, model))
        for name, card in fitting.items()
    ]
    others = [name for name, card in cards.items() if name not in fitting and _teaches(name, card)]
    adapted = [Offer(name, ADAPT, pasted("trimtab", "adapt", name, "--model", model)) for name in others]
    at_once = [Offer(name, AT_ONCE, steering_command(cards[name], name, model, "--retokenize")) for name in others]
    return [*ready, *adapted, *at_once]


def steering_command(card: RewardCard, reward: str, model: str, *more: str) -> str:
    """The command that steers a model by a reward: away from an attribute whose name says that low is good."""
    scores = head_kind(card.head).scores_prefixes  # or it has log-probabilities, whose usual strength is 1
    steer = usual_steer(reward, card.attributes, USUAL_STRENGTH if scores else 1)
    return pasted("trimtab", "generate", "I think that", "--model", model, "--steer", steer, *more)


def pasted(*words: str) -> str:
    """A command as a shell takes it; characters that a terminal acts on are named."""
    return legible(shlex.join(words), keep="")


def _state(card: RewardCard, base: str, model: str) -> str:
    """Whether a reward of the model's tokenizer is on that model, by its name or its place, or runs its own base."""
    if card.trunk in OWN_LAYERS or may_load(base, model) or _same_model(base, model):
        return READY
    return BESIDE.format(base=legible(shown_base(base), keep=""))


def _same_model(one: str, other: str) -> bool:
    """Whether two names load the same model, as far as names and folders tell."""
    from trimtab.models.loading import EMBEDDED, EMBEDDED_HUB_ID

    first, second = (EMBEDDED if name == EMBEDDED_HUB_ID else name for name in (one, other))
    return first == second or (Path(first).exists() and Path(first).resolve() == Path(second).resolve())


def _teaches(name: str, card: RewardCard) -> bool:
    """Whether a reward, or its bundled twin, scores texts; the twin itself is left out."""
    suffix = HEADS["v"].bundled_suffix
    return teaching_reward(name) != name or (head_kind(card.head).scores_texts and not name.endswith(suffix))


def _chosen_among(model: Fingerprints) -> dict[str, RewardCard]:
    """The bundled rewards among which a model's weights choose, by their whole names: several bases, one tokenizer."""
    fitting = {name: card for name, card in bundled_rewards().items() if card.tokenizer_fingerprint == model.tokenizer}
    shared = Counter(map(name_without_base, fitting))
    return {name: card for name, card in fitting.items() if shared[name_without_base(name)] > 1}


def _near() -> Iterator[tuple[str, RewardCard]]:
    """The rewards in ./rewards whose cards can be read."""
    for folder in sorted(FOLDER.iterdir()) if FOLDER.is_dir() else ():
        try:
            card = read_card(folder)
        except TrimtabError:  # another folder, or a damaged reward
            continue
        yield str(folder), card
