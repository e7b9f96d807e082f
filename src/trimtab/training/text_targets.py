"""A text teacher's rewards in a student's tokens: of every prefix of a text, and of the base's candidates behind it.

A reward of a prefix is the teacher's score of the prefix's text. Three cases have rules of their own:

* Tokens that end within a character of several bytes have no text: they have no reward.
* EOS and other special tokens have no text: behind a prefix they have the prefix's reward.
* Nothing precedes a text that is empty: it has no reward.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from trimtab.checking import shown
from trimtab.errors import NonFiniteReward
from trimtab.models.frozen_lm import FrozenLM
from trimtab.models.packed_texts import PackedTexts
from trimtab.models.prefix_cache import PrefixCache
from trimtab.training.target import Target, draw_places
from trimtab.training.text_teacher import TextTeacher

UNDECODABLE = "\ufffd"  # what a tokenizer writes for a part of a character
BASE_TEXTS = 16  # texts in one call of the base: alone, a text is too few tokens for a quick product
CALL_TEXTS = 1024  # strings that the teacher scores in one call
CALL_LOGITS = 2**26  # numbers that the base returns in one call: 256 MB

Text = str | None  # None for tokens that have no text


class Part(NamedTuple):
    """A text behind its context.

    Attributes:
        ids: the tokens of both.
        context: how many of them are the context.
    """

    ids: Sequence[int]
    context: int


class AskedText(NamedTuple):
    """What a teacher is asked about one text.

    Attributes:
        prefixes: the text up to and including each token.
        places: the places whose candidates are asked about, counted from the text's first token.
        candidates: the base's most likely tokens in each of these places.
        behind: the text up to each place, with each candidate behind it.
    """

    prefixes: list[Text]
    places: list[int]
    candidates: Int[Tensor, "places k"]
    behind: list[list[Text]]

    @property
    def size(self) -> int:
        """How many texts it asks about, at most."""
        return len(self.prefixes) + self.candidates.numel()


def text_targets(
    teacher: TextTeacher,
    base: FrozenLM,
    texts: Sequence[Sequence[int]],
    k: int,
    positions: int | None,
    contexts: Sequence[int] = (),
) -> Iterator[Target]:
    """The rewards of each text, in order.

    Args:
        teacher: scores texts.
        base: its tokenizer made the texts, and its most likely tokens are the candidates.
        texts: token ids, without BOS.
        contexts: how many tokens of each text are the message that it answers. The base reads them, the teacher does
            not, and they have no rewards. Default: none of any.
        k: candidates in each place; 0 for none.
        positions: the number of places whose candidates are scored, drawn by the text itself; None for all.

    Raises:
        InvalidPrompt: a text is longer than the teacher's context.
        InvalidData: a classifier does not return one number for each text.
        NonFiniteReward: a score is not finite.
    """
    waiting: list[AskedText] = []
    parts = [Part(ids, contexts[number] if contexts else 0) for number, ids in enumerate(texts)]
    for start in range(0, len(parts), BASE_TEXTS):
        for one in _ask(base, parts[start : start + BASE_TEXTS], k, positions):
            waiting.append(one)
            if sum(each.size for each in waiting) >= CALL_TEXTS:
                yield from _answered(teacher, waiting)
                waiting = []
    yield from _answered(teacher, waiting)


def text_of(base: FrozenLM, ids: Sequence[int]) -> Text:
    """The text of tokens; None if it is empty or ends within a character."""
    text = base.codec.decode(ids)
    return None if not text or UNDECODABLE in text else text


def _ask(base: FrozenLM, parts: Sequence[Part], k: int, positions: int | None) -> list[AskedText]:
    """What a teacher is asked about some texts, whose candidates the base gives together."""
    drawn = [_places(base, part, positions) if k else [] for part in parts]
    behind = [_read(base, part, place) for part, places in zip(parts, drawn, strict=True) for place in places]
    candidates = likely_tokens(base, behind, k).split([len(places) for places in drawn])
    return [_asked(base, *one) for one in zip(parts, drawn, candidates, strict=True)]


def _asked(base: FrozenLM, part: Part, places: list[int], candidates: Int[Tensor, "places k"]) -> AskedText:
    ids, first = part
    prefixes = [text_of(base, ids[first : end + 1]) if end >= first else None for end in range(len(ids))]
    behind = [
        [_behind(base, ids[first:place], token) for token in of_place]
        for place, of_place in zip(places, candidates.tolist(), strict=True)
    ]
    return AskedText(prefixes, places, candidates, behind)


def _places(base: FrozenLM, part: Part, positions: int | None) -> list[int]:
    """The places of a text whose candidates are scored, counted from the first token of its context."""
    ids, first = part
    opened = first > 0 or (base.bos_token_id is not None and ids[0] != base.bos_token_id)
    return [first + place for place in draw_places(ids[first:], positions, opened)]


def _read(base: FrozenLM, part: Part, place: int) -> list[int]:
    """What the base reads before a place: BOS, if its tokenizer puts it there or nothing else is; context and text."""
    opens = not part.context and base.bos_token_id is not None and (base.prepends_bos or not place)
    return [*([base.bos_token_id] if opens else []), *part.ids[:place]]  # type: ignore[list-item]


def _behind(base: FrozenLM, prefix: Sequence[int], token: int) -> Text:
    """The text of a prefix and a candidate; None for a spare row of the embedding, which is no token."""
    return text_of(base, [*prefix, token]) if token < len(base.tokenizer) else None


def likely_tokens(base: FrozenLM, prefixes: Sequence[Sequence[int]], k: int) -> Int[Tensor, "prefixes k"]:
    """The base's k most likely tokens behind some prefixes. What prefixes share is encoded once."""
    each = max(1, CALL_LOGITS // base.vocabulary_size)
    found = [torch.zeros((0, k), dtype=torch.int32)]
    for start in range(0, len(prefixes), each):
        some = prefixes[start : start + each]
        logits = PackedTexts(base.model, PrefixCache(0), some, [1] * len(some)).logits()
        found.append(torch.cat(logits).topk(k, dim=-1).indices.int().cpu())
    return torch.cat(found)


def _strings(asked: Sequence[AskedText]) -> list[str]:
    """Every different text that is asked about, each text's own prefixes and candidates beside each other."""
    texts = (text for one in asked for group in (one.prefixes, *one.behind) for text in group)
    return list(dict.fromkeys(text for text in texts if text is not None))


@final
class Scores:
    """A teacher's scores of different texts.

    Args:
        teacher: the teacher.
        texts: none of them is empty.

    Raises:
        NonFiniteReward: a score is not finite.
    """

    def __init__(self, teacher: TextTeacher, texts: Sequence[str]):
        unknown = torch.full((1, len(teacher.attributes)), float("nan"))
        self._rows: dict[Text, int] = {None: 0} | {text: row for row, text in enumerate(texts, start=1)}
        self._scores = torch.cat([unknown, teacher.score(texts)]) if texts else unknown
        if not self._scores[1:].isfinite().all():
            raise NonFiniteReward(
                f"the teacher {shown(teacher.name)} gives a reward that is not finite; choose another teacher"
            )

    def of(self, texts: Sequence[Text]) -> Float[Tensor, "texts attributes"]:
        """The score of each text; NaN where there is no text."""
        return self._scores[torch.tensor([self._rows[text] for text in texts], dtype=torch.long)]


def _answered(teacher: TextTeacher, asked: Sequence[AskedText]) -> Iterator[Target]:
    scores = Scores(teacher, _strings(asked))
    for one in asked:
        known = torch.tensor([text is not None for text in one.prefixes])
        observed = scores.of(one.prefixes).nan_to_num()
        behind = scores.of([text for of_place in one.behind for text in of_place])
        rewards = behind.view(*one.candidates.shape, len(teacher.attributes))
        places, scored = torch.tensor(one.places, dtype=torch.int32), ~rewards.isnan().any(-1)
        yield Target(observed, known, places, one.candidates, rewards.nan_to_num(), scored)
