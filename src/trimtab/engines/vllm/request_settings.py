"""A request's `extra_args["trimtab"]`, which HTTP clients send as `vllm_xargs`: a steer, or settings in JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, final

from trimtab.checking import shown
from trimtab.data.json_text import parse_json
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.served import Served, served_names
from trimtab.engines.vllm.vllm_settings import SECTION
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.rewards.card import RewardCard
from trimtab.steering.notation import SteerText, check_sums, parse_steer
from trimtab.steering.steer import check_counts

if TYPE_CHECKING:
    from vllm import SamplingParams as TheirParams

TICKET = "ticket"
SETTINGS = ("top_k", "top_p", "max_kl", "temperature", "seed")


@final
class Tickets:
    """What the engines of this process ask for their requests, by number: vLLM copies what it is given."""

    def __init__(self) -> None:
        self._asked: dict[int, Asked] = {}
        self._count, self._lock = 0, Lock()

    def put(self, asked: Asked) -> dict[str, Any]:
        """Returns the `extra_args` of a request."""
        with self._lock:
            self._count += 1
            self._asked[self._count] = asked
            return {SECTION: {TICKET: self._count}}

    def get(self, number: int) -> Asked:
        """What a request asks."""
        return self._asked[number]

    def drop(self, extra_args: Mapping[str, Any]) -> None:
        """Forget a request that has ended."""
        self._asked.pop(extra_args[SECTION][TICKET], None)


TICKETS = Tickets()


@final
@dataclass(frozen=True)
class RequestSettings:
    """A request's settings as they were written.

    Attributes:
        steers: the terms.
        params: the candidates and the budget; the temperature too if `draws`.
        draws: whether trimtab's own noise chooses the tokens, because there is a seed.
    """

    steers: tuple[SteerText, ...]
    params: SamplingParams = field(default_factory=SamplingParams)
    draws: bool = False


def parse_settings(given: object) -> RequestSettings:
    """Read a steer, such as "toxicity=-30 sentiment=+20", or JSON, such as {"steer": "toxicity=-30", "top_k": 50}.

    With "seed", trimtab chooses the tokens, and the text is the one that its other engines write. Otherwise vLLM
    samples among the steered candidates, by its own temperature, top_p and seed.

    Raises:
        InvalidSetting: it has another form, or a value is out of range.
    """
    if isinstance(given, str) and given.lstrip().startswith("{"):
        given = _parsed(given)
    if isinstance(given, str):
        given = {"steer": given}
    if not isinstance(given, Mapping):
        raise InvalidSetting(f"got trimtab={shown(given)}, expected a steer, as in 'toxicity=-30', or a JSON object")
    known = ("steer", *SETTINGS)
    if unknown := sorted(set(given) - set(known)):
        raise InvalidSetting(f"got {shown(unknown[0])} in trimtab=, expected one of: {', '.join(known)}")
    texts = given.get("steer", "")
    parts = texts.replace(",", " ").split() if isinstance(texts, str) else texts
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise InvalidSetting(f"got steer={shown(texts)}, expected text, as in 'toxicity=-30 sentiment=+20'")
    options: Any = {name: given[name] for name in SETTINGS if name in given}
    params = SamplingParams.of(None, options)
    return RequestSettings(tuple(map(parse_steer, parts)), params, draws=given.get("seed") is not None)


def check_request_settings(params: "TheirParams") -> None:
    """Check a request's settings, as far as that goes without loading a reward.

    Rows that a ladder steers must see every token of their prompt, so they read nothing from vLLM's prefix cache.

    Raises:
        InvalidSetting: see `parse_settings`; or no such reward, or a sampling setting that trimtab has no part in.
    """
    given = (params.extra_args or {}).get(SECTION)
    if given is None or _ticket(given) is not None:
        return
    settings = parse_settings(given)
    cards = served_names()
    for steer in settings.steers:
        if steer.reward not in cards:
            known = ", ".join(sorted(cards)) or "none"
            raise InvalidSetting(f"got the reward {shown(steer.reward)}, expected one of: {known}")
        card = cards[steer.reward]
        if steer.attribute is not None and steer.attribute not in card.attributes:
            raise InvalidSetting(
                f"got the attribute {shown(steer.attribute)}, expected one of: {', '.join(card.attributes)}"
            )
        check_counts(steer.beta, card.clamp)
        if card.trunk == "ladder":
            params.skip_reading_prefix_cache = True
    check_sums((_attribute_of(steer, cards[steer.reward]), steer.beta) for steer in settings.steers)
    if settings.draws and params.temperature != 0:
        raise InvalidSetting(
            f"got a seed in trimtab= with temperature={params.temperature}, expected temperature=0: trimtab chooses "
            "the tokens then, by the temperature in trimtab="
        )


def _attribute_of(steer: SteerText, card: RewardCard) -> tuple[str, str]:
    """The attribute of a reward, whatever the name that requests have for the reward."""
    return card.weights_sha256 or steer.reward, steer.attribute or card.attributes[0]


def asked_of(params: "TheirParams", served: Served) -> Asked | None:
    """What a request asks; None if it has nothing for trimtab."""
    given = (params.extra_args or {}).get(SECTION)
    if given is None:
        return None
    if (number := _ticket(given)) is not None:
        return TICKETS.get(number)
    settings = parse_settings(given)
    return Asked(settings.params, served.steer(settings.steers), served.base, draws=settings.draws)


def _ticket(given: object) -> int | None:
    return given.get(TICKET) if isinstance(given, dict) else None


def _parsed(text: str) -> object:
    try:
        return parse_json(text)
    except InvalidData as error:
        raise InvalidSetting(f"got trimtab={shown(text)}, expected JSON ({error})") from error
