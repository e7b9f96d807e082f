"""Check that the weights and the judge of a row are those that are here, before anything is written again."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from trimtab.data.differences import differences
from trimtab.data.json_text import dump_json, parse_json
from trimtab.engines.provenance import LATER, MACHINE
from trimtab.errors import InvalidData
from trimtab.judges.base import description_of
from trimtab.judges.load import JudgeLike, as_judge

WEIGHTS = ("base_fingerprint", "weights_fingerprint")
SETUP = ("config_fingerprint", "tokenizer_fingerprint", "chat_template_fingerprint")
NAMED = ("reward", "source", "base")  # the same weights may have another name, and lie in another file


def check_weights(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse other weights than the recorded ones.

    Args:
        recorded: the provenance of a row.
        here: the provenance of what its job loads here.

    Raises:
        InvalidData: the model, or a reward, has another fingerprint, or a reward steers differently.
    """
    for name in WEIGHTS:
        if recorded.get(name) != here.get(name):
            raise InvalidData(f"the model {here['model']!r} has other weights: {_both(name, recorded, here)}")
    for name in SETUP:
        if recorded.get(name) != here.get(name):
            raise InvalidData(f"the model {here['model']!r} is another one: {_both(name, recorded, here)}")
    there, found = (terms_of(each) for each in (recorded, here))
    nothing: Mapping[str, Any] = {}
    for one, other in zip_longest(there, found, fillvalue=nothing):
        check_term(one, other)
    names_of(there)


def _both(name: str, recorded: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What a record says of something, beside what is here."""
    there = f"has {recorded[name]}" if recorded.get(name) is not None else "does not say"
    return f"{name} {here.get(name)}, the row {there}"


def terms_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The terms of a provenance's steer, as JSON has them.

    Raises:
        InvalidData: they are no list of records.
    """
    terms = parse_json(dump_json(record.get("steer")))
    if not isinstance(terms, list) or not all(isinstance(term, Mapping) for term in terms):
        raise InvalidData("got a provenance whose steer is no list of rewards")
    return terms


def check_term(there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a reward with other weights, or one that steers differently.

    Raises:
        InvalidData: it is.
    """
    name = there.get("reward", here.get("reward"))
    if there.get("fingerprint") != here.get("fingerprint"):
        if not there or not here:
            raise InvalidData(f"the reward {name!r} steers {'here, and not in the row' if here else 'in the row only'}")
        raise InvalidData(f"the reward {name!r} has other weights: {_both('fingerprint', there, here)}")
    if differing := differences(there, here, NAMED, later=LATER):
        raise InvalidData(f"the reward {name!r} steers differently ({differing})")


def names_of(terms: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the rewards of a provenance.

    Raises:
        InvalidData: a name is missing, or is no text.
    """
    names = [term.get("reward") for term in terms]
    texts = [name for name in names if isinstance(name, str)]
    if len(texts) < len(names):
        raise InvalidData("got a provenance whose steer has a reward without a name")
    return texts


def check_judge(recorded: object, judge: JudgeLike | None) -> None:
    """Refuse another judge than the recorded one.

    Raises:
        InvalidData: they describe themselves differently.
    """
    if judge is None or not isinstance(recorded, Mapping):
        return
    if differing := differences(recorded, description_of(as_judge(judge)), MACHINE):
        raise InvalidData(f"the judge is another one ({differing})")
