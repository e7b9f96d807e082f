"""What the shell offers for an option: the names of rewards, their attributes, judges and methods. Imports no torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from trimtab.judges.question import FOLDER, SELF
from trimtab.rewards.heads import HEADS
from trimtab.steering.notation import parse_reward

Offer = tuple[str, str]  # what may be typed, and its help

CLASSIFIERS = {"vader": "VADER's sentiment", "profanity": "the probability of profanity"}
MODELS = {"smollm2": "the bundled model"}


def complete_reward(incomplete: str) -> list[Offer]:
    """Return the rewards that a name may become, and a reward's attributes behind a colon."""
    return _matching(incomplete, [*_rewards(incomplete), *_attributes(incomplete)])


def complete_steer(incomplete: str) -> list[Offer]:
    """Return the rewards, attributes included, that the text of a steer may become; nothing behind the equals sign."""
    if "=" in incomplete:
        return []
    return [(f"{name}=", about) for name, about in complete_reward(incomplete)]


def complete_judge(incomplete: str) -> list[Offer]:
    """Return the judges that a text may become."""
    signed = [*CLASSIFIERS.items(), *_rewards(incomplete), *_attributes(incomplete)]
    both = [
        (f"{name}={sign}", f"{about}: {meaning}")
        for name, about in signed
        for sign, meaning in (("+1", "high is good"), ("-1", "high is bad"))
    ]
    return _matching(incomplete, [(SELF, "the model judges its own drafts"), *_questions(), *both])


def complete_method(incomplete: str) -> list[Offer]:
    """Return the methods that a text may become."""
    return _matching(incomplete, [(kind.method, "") for kind in HEADS.values()])


def complete_model(incomplete: str) -> list[Offer]:
    """Return the bundled model, .gguf files and folders that hold a model."""
    near = _near(incomplete).items()
    found = [(words, "") for words, path in near if path.suffix == ".gguf" or _holds(path, "config.json")]
    return _matching(incomplete, [*MODELS.items(), *found])


def _questions() -> Iterator[Offer]:
    for file in sorted(FOLDER.glob("*.toml")):
        yield f"{SELF}:{file.stem}", "the model judges its own drafts"


def _matching(incomplete: str, offers: Iterable[Offer]) -> list[Offer]:
    return [offer for offer in offers if offer[0].startswith(incomplete)]


def _rewards(incomplete: str) -> Iterator[Offer]:
    """The bundled rewards, and folders near what was typed that hold a reward."""
    from trimtab.rewards.card import CARD_FILE
    from trimtab.rewards.registry import bundled_rewards

    for name, card in bundled_rewards().items():
        yield name, f"{', '.join(card.attributes)} ({HEADS[card.head].method.upper()})"
    for words, path in _near(incomplete).items():
        if _holds(path, CARD_FILE):
            yield words, "a folder with a reward"


def _attributes(incomplete: str) -> Iterator[Offer]:
    """The attributes of the reward whose name stands before a colon."""
    from trimtab.errors import TrimtabError
    from trimtab.rewards.card import CARD_FILE, read_card
    from trimtab.rewards.registry import BUNDLED

    name, attribute = parse_reward(incomplete)
    folder = next((place for place in (BUNDLED / name, Path(name)) if _holds(place, CARD_FILE)), None)
    if attribute is None or folder is None:
        return
    try:
        card = read_card(folder)
    except TrimtabError:
        return
    for each in card.attributes:
        yield f"{name}:{each}", f"an attribute of {name}"


def _near(incomplete: str) -> dict[str, Path]:
    """The files and folders beside the path that was typed, by the words that name them; hidden ones left out."""
    before = incomplete[: incomplete.rfind("/") + 1]
    try:
        found = sorted(path for path in Path(before or ".").iterdir() if not path.name.startswith("."))
    except (OSError, ValueError):
        return {}
    return {before + path.name: path for path in found}


def _holds(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):
        return False
