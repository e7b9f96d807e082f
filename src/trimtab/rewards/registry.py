"""Find and load rewards: bundled with the package, in a folder, or on the Hub. Importing this file imports no torch."""

import os
from collections.abc import Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.checking import check_type, checked, shown
from trimtab.data.files import shown_path
from trimtab.data.hub import HubFault, fetch, suggestion
from trimtab.errors import InvalidSetting, RewardNotFound, WrongType
from trimtab.rewards.base_path import check_located, earlier_place, find_base
from trimtab.rewards.card import CARD_FILE, WEIGHTS_FILE, RewardCard, read_card
from trimtab.rewards.expert_names import check_experts, names_experts
from trimtab.rewards.heads import HEADS, head_of_method
from trimtab.rewards.variants import AT, Fingerprints, best_variant, name_without_base
from trimtab.steering.notation import SteerText, check_sums, parse_steer

if TYPE_CHECKING:
    from trimtab.models.codec import TextCodec
    from trimtab.models.frozen_lm import FrozenLM
    from trimtab.rewards.any_reward import AnyReward
    from trimtab.rewards.reward_model import RewardModel
    from trimtab.steering.steer import Steer

BUNDLED = Path(__file__).parent / "bundled"
HUB_FILES = (CARD_FILE, "*.safetensors")


def bundled_rewards() -> dict[str, RewardCard]:
    """The cards of the rewards in the package, by name; the suffix of a name tells the head, see `HEADS`.

    A name for another base than the first has that base behind an @, as in toxicity@gemma-3-270m.
    """
    return {name: read_card(BUNDLED / name) for name in _bundled_folders()}


def rewards_for(model: Fingerprints) -> dict[str, RewardCard]:
    """The cards of the bundled rewards that serve a language model best, by the names without a base."""
    names = dict.fromkeys(map(name_without_base, _bundled_folders()))
    return {name: read_card(BUNDLED / variant_for(name, model)) for name in names}


def variant_for(name: str, model: Fingerprints | None) -> str:
    """The bundled reward of a name that serves a language model best; any other name, and NAME@BASE, as it is."""
    variants = [each for each in _bundled_folders() if name_without_base(each) == name]
    if len(variants) < 2 or model is None:
        return variants[0] if variants else name
    return best_variant({each: read_card(BUNDLED / each) for each in variants}, model)


def _bundled_folders() -> list[str]:
    """The names of the bundled folders; that of the first base precedes the others of its name."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD_FILE}"))


@checked
def find_reward(name: str | Path, model: Fingerprints | None = None) -> Path:
    """The folder of a reward. A reward on the Hub is downloaded; see `trimtab.data.hub` for its limits.

    Args:
        name: a bundled name, a local folder, or a Hub id.
        model: of the language model to steer; it chooses among the bundled rewards of one name.

    Raises:
        RewardNotFound: no reward of that name; the message lists the bundled ones.
        WrongType: the name is no text.
    """
    text = os.fspath(name)
    if local := _local_folder(variant_for(text, model)):
        return local
    try:
        if text.count("/") != 1:
            raise HubFault("no such folder, and no Hub id: those look like OWNER/NAME")
        return fetch(text, HUB_FILES)
    except HubFault as fault:
        names = list(dict.fromkeys(map(name_without_base, _bundled_folders())))
        raise RewardNotFound(
            f"got reward {shown_path(text)}, expected one of: {', '.join(names)}; or a folder, or a Hub id ({fault})"
            + suggestion(text, names)
        ) from fault


def _local_folder(name: str) -> Path | None:
    """The folder of a bundled reward, or a folder on this machine."""
    try:
        bundled = BUNDLED / name
        if bundled.parent == BUNDLED and (bundled / CARD_FILE).is_file():
            return bundled
        return Path(name) if name and Path(name).is_dir() else None
    except (OSError, ValueError):  # a name that is too long, a null character, a folder that may not be read
        return None


def load_reward(name: str | Path, lm: "FrozenLM | None" = None, merge_adapters: bool | None = None) -> "RewardModel":
    """Load a reward. Its card and its weights are checked before its base loads.

    Args:
        name: a bundled name, a folder, or a Hub id.
        lm: the language model to steer. If it is the reward's base, its weights are shared; otherwise the base is
            loaded to the same device and dtype.
        merge_adapters: as `RewardModel` takes it.

    Raises:
        RewardNotFound: no reward of that name.
        RewardMismatch: the tokenizer of `lm` is not the reward's.
        CorruptReward: the folder is damaged.
        WrongType: an argument of another type.
    """
    if lm is not None:
        from trimtab.models.frozen_lm import FrozenLM

        check_type("lm", lm, FrozenLM | None)
    folder = find_reward(name, None if lm is None else Fingerprints.of(lm))
    from trimtab.rewards.reward_model import RewardModel

    check_type("merge_adapters", merge_adapters, bool | None)
    return RewardModel.from_folder(folder, partial(_load_base, like=lm), lm, os.fspath(name), merge_adapters)


def load_alone(name: str | Path, like: "FrozenLM", merge_adapters: bool | None = None) -> "RewardModel":
    """Load a reward on its own base, whatever tokenizer another model has.

    Args:
        name, merge_adapters: as in `load_reward`.
        like: the model whose device and dtype the base gets.

    Raises:
        RewardNotFound, CorruptReward: as in `load_reward`.
        RewardMismatch: the card does not say where the base is.
    """
    folder = find_reward(name)
    from trimtab.rewards.reward_model import RewardModel

    return RewardModel.from_folder(folder, partial(_load_base, like=like), None, os.fspath(name), merge_adapters)


def load_any(
    name: str | Path,
    lm: "FrozenLM | None" = None,
    merge_adapters: bool | None = None,
    retokenize: bool = False,
    method: str | None = None,
) -> "AnyReward":
    """Load a reward, and let it steer a language model of another tokenizer if that is wanted.

    Args:
        name, lm, merge_adapters: as in `load_reward`; or the name is `experts:EXPERT,ANTI`, two language models.
        retokenize: if `lm` has another tokenizer than the reward, load the reward on its own base, and let it score the
            texts of `lm`. NAME without a method then also finds the bundled reward that scores texts, such as NAME-rad.
        method: as in `load_by_method`.

    Raises:
        InvalidSetting: it has another tokenizer and no V-head; or as in `load_by_method`.
        RewardNotFound, RewardMismatch, CorruptReward, WrongType: as in `load_reward`.
    """
    name = name_by_method(os.fspath(name), method)
    if names_experts(name):
        from trimtab.rewards.load_experts import load_experts

        return load_experts(name, lm)
    if lm is None or not check_type("retokenize", retokenize, bool):
        return load_reward(name, lm, merge_adapters)
    reads_text = name_for(name, method, lm.codec, retokenize, Fingerprints.of(lm))
    if read_card(find_reward(reads_text)).tokenizer_fingerprint == lm.codec.fingerprint:
        return load_reward(name, lm, merge_adapters)
    from trimtab.rewards.retokenized import RetokenizedReward

    return RetokenizedReward(load_alone(reads_text, lm, merge_adapters), lm)


def name_for(
    name: str,
    method: str | None,
    codec: "TextCodec | None" = None,
    retokenize: bool = False,
    model: Fingerprints | None = None,
) -> str:
    """The name of the reward that will steer, from the cards alone; its tokenizer is checked.

    Args:
        name: as in `load_reward`.
        method: as in `load_by_method`.
        codec: of the language model to steer; None if it is not known.
        retokenize: as in `load_any`.
        model: its fingerprints, if its weights are loaded.

    Raises:
        InvalidSetting: an unknown method, or another one than the reward's; or, with `retokenize`, it has no V-head.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    found = _variant_by_method(name, method, codec, model)
    card = read_card(find_reward(found))
    if codec is None or card.tokenizer_fingerprint == codec.fingerprint:
        return found
    if not retokenize:
        card.check_tokenizer(found, codec.fingerprint, codec.name)
    of_texts = found if method else teaching_reward(found)
    read_card(find_reward(of_texts)).check_scores_texts(of_texts)
    return of_texts


def _variant_by_method(
    name: str, method: str | None, codec: "TextCodec | None", model: Fingerprints | None = None
) -> str:
    known = model or (None if codec is None else Fingerprints(codec.fingerprint))
    return variant_for(name_by_method(name, method), known)


def _load_base(name: str, like: "FrozenLM | None") -> "FrozenLM":
    from trimtab.models.loading import load_frozen_lm

    return load_frozen_lm(name, str(like.device) if like else None, like.model.dtype if like else None)


def base_of(name: str) -> str:
    """The name by which the base of a reward loads; a path in its card is relative to the reward's folder.

    A base of which the card knows no place may have been loaded here before.

    Raises:
        RewardNotFound, CorruptReward: as in `load_reward`.
        RewardMismatch: the card does not say where the base is.
    """
    folder = find_reward(name)
    base = earlier_place(find_base(read_card(folder).base, folder))
    check_located(base, name)
    return base


def check_reward(name: str | Path, codec: "TextCodec | None" = None, retokenize: bool = False) -> RewardCard:
    """Check a reward as far as that goes without its base: its card, its tokenizer, and every byte of its weights.

    Args:
        name: as in `load_reward`.
        codec: of the language model to steer; None if it is not known.
        retokenize: as in `load_any`.

    Returns:
        The card of the reward that will steer.

    Raises:
        InvalidSetting: as in `name_for`.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    typed = os.fspath(check_type("name", name, str | Path))
    folder = find_reward(name_for(typed, None, codec, retokenize))
    card = read_card(folder)
    from trimtab.rewards.weights import read_weights  # here, because it imports torch

    read_weights(folder / WEIGHTS_FILE, card.weights_sha256)
    return card


def load_by_method(name: str, method: str | None, base: "FrozenLM | None" = None) -> "RewardModel":
    """Load a reward, and check its decoding method.

    Args:
        name: as in `load_reward`. With a method, NAME also finds the bundled reward of that method, such as NAME-rad.
        method: "arm", "rad" or another method of `HEADS`; None for any.
        base: the language model to steer.

    Raises:
        InvalidSetting: an unknown method, or the reward has another one.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    return load_reward(name_by_method(name, method), base)


@checked
def name_by_method(name: str, method: str | None) -> str:
    """The name of the reward that a method asks for, from the cards alone. Arguments and errors as `load_by_method`."""
    if method is None:
        return name
    if names_experts(name):
        raise InvalidSetting(f"got method {method!r} for {shown(name)}, expected no method: language models have none")
    wanted = head_of_method(method)
    found = _bundled_twin(name, HEADS[wanted].bundled_suffix)
    head = read_card(find_reward(found)).head
    if head != wanted:
        has = HEADS[head].method
        raise InvalidSetting(f"got method {method!r} for {shown_path(name)}, expected {has!r}; leave the method out")
    return found


def teaching_reward(name: str) -> str:
    """The bundled reward that scores texts, such as toxicity-rad for toxicity; any other name as it is."""
    return _bundled_twin(name, HEADS["v"].bundled_suffix)


def _bundled_twin(name: str, suffix: str) -> str:
    """The bundled reward whose name has a suffix more, before its base; the name as it is if there is none."""
    shared, at, base = name.partition(AT)
    twin = f"{shared}{suffix}{at}{base}"
    there = _bundled_folders()
    return twin if twin in there or twin in map(name_without_base, there) else name


def check_steers(
    texts: Sequence[str], method: str | None = None, codec: "TextCodec | None" = None, retokenize: bool = False
) -> None:
    """Refuse steers that cannot be loaded, before the language model loads.

    Args:
        texts, method, retokenize: as in `load_steers`.
        codec: of the language model to steer. None if it is not known: then the rewards' cards are read; otherwise
            their weights too.

    Raises:
        InvalidSetting, UnknownAttribute, RewardNotFound, RewardMismatch, CorruptReward: as in `load_steers`.
    """
    names: list[str] = []
    by_attribute: list[tuple[tuple[str, str], float]] = []
    for typed in _named_rewards(texts, method, codec):
        find = partial(name_for, retokenize=True) if retokenize else _variant_by_method
        names.append(find(typed.reward, method, codec))
        card = read_card(find_reward(names[-1]))
        attribute = card.attributes[card.chosen_index(typed.reward, typed.attribute, f"={typed.beta:+g}")]
        by_attribute.append(((card.weights_sha256 or names[-1], attribute), typed.beta))
    check_sums(by_attribute)
    for name in dict.fromkeys(names) if codec is not None else ():
        check_reward(name, codec, retokenize)


def check_candidates(
    texts: Sequence[str],
    method: str | None,
    k: int | None,
    codec: "TextCodec | None" = None,
    retokenize: bool = False,
) -> None:
    """Refuse more candidates than a steer's reward can score, before the language model loads.

    Args:
        texts, method, codec, retokenize: as in `check_steers`.
        k: the candidates per token; None for the whole vocabulary.

    Raises:
        InvalidSetting: there are more.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_steers`.
    """
    for typed in _named_rewards(texts, method):
        folder = find_reward(name_for(typed.reward, method, codec, retokenize))
        read_card(folder).check_candidates(folder.name, k)


def cards_of(
    texts: Sequence[str], method: str | None, codec: "TextCodec | None" = None, retokenize: bool = False
) -> list[RewardCard | None]:
    """The cards of the rewards that steers name; None for experts. Arguments and errors as in `check_candidates`."""
    return [
        None
        if names_experts(typed.reward)
        else read_card(find_reward(name_for(typed.reward, method, codec, retokenize)))
        for typed in _parse_steers(texts)
    ]


def _named_rewards(texts: object, method: str | None, codec: "TextCodec | None" = None) -> list[SteerText]:
    """The steers by rewards; those by experts are checked, and left out."""
    typed = _parse_steers(texts)
    for experts in (steer for steer in typed if names_experts(steer.reward)):
        name_by_method(experts.reward, method)
        check_experts(experts.reward, codec)
    return [steer for steer in typed if not names_experts(steer.reward)]


def _parse_steers(texts: object) -> list[SteerText]:
    if isinstance(texts, str | bytes):
        raise WrongType(f"got texts={shown(texts)}, expected a list of steers, as in ['toxicity=-30']")
    return [parse_steer(text) for text in check_type("texts", texts, Sequence[str])]


def load_steers(
    texts: Sequence[str], method: str | None = None, base: "FrozenLM | None" = None, retokenize: bool = False
) -> "Steer | None":
    """The sum of steers given as text; None for no text. Each reward is loaded once.

    Args:
        texts: NAME[:ATTRIBUTE]=±BETA or experts:EXPERT,ANTI=±ALPHA each; below 0 steers away from high rewards.
        method, base: as in `load_by_method`.
        retokenize: as in `load_any`.

    Raises:
        InvalidSetting: a text of another form, or as in `load_by_method` and `load_any`.
        UnknownAttribute: a reward has no attribute of that name.
        RewardNotFound, RewardMismatch, CorruptReward: as in `load_reward`.
    """
    typed, method = _parse_steers(texts), check_type("method", method, str | None)
    names = {name: name_by_method(name, method) for name in dict.fromkeys(steer.reward for steer in typed)}
    rewards = {typed: load_any(name, base, retokenize=retokenize, method=method) for typed, name in names.items()}
    steers = [
        (rewards[t.reward].away if t.beta < 0 else rewards[t.reward].toward)(abs(t.beta), t.attribute) for t in typed
    ]
    return reduce(add, steers) if steers else None
