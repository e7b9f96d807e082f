"""What searches want written: branches and drafts, of all prompts in one batch over what is remembered."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import final

from trimtab.engines.base import Choice, Continuation, Engine, FinishReason, Request
from trimtab.engines.settings import Sampling
from trimtab.frozen.lm import FrozenLM
from trimtab.generation import cut_at_stop
from trimtab.rewind.draft import Draft
from trimtab.rewind.search import Search, Want, Written
from trimtab.rewind.settings import SENTENCE_ENDS, RewindSettings
from trimtab.rewind.tree import Node
from trimtab.steering.steer import Steer

Asked = tuple[Search, Want]


@final
@dataclass(frozen=True)
class Rollout:
    """A draft that has been written and not judged.

    Attributes:
        draft: what the judge is to read.
        choices: of the whole continuation.
        text: of what is behind the branch.
    """

    draft: Draft
    choices: tuple[Choice, ...]
    text: str


@final
class Writer:
    """Writes what searches want.

    Args:
        lm: whose tokens they are.
        engine: what writes.
        steer: how; it shapes the priors of the branches and the drafts alike.
        stop: the strings that end a text, such as the next human turn.
        settings: of the searches.
    """

    def __init__(
        self, lm: FrozenLM, engine: Engine, steer: Steer | None, stop: Sequence[str], settings: RewindSettings
    ):
        self._lm, self._engine, self._steer, self._stop, self._settings = lm, engine, steer, stop, settings
        self._sampling = Sampling(settings.top_k, None, settings.temperature)
        self._first_sampling = Sampling(settings.widest, None, settings.temperature)

    def write(self, asked: Sequence[Asked]) -> list[tuple[Search, Node, Rollout]]:
        """Give the searches their children; returns the drafts, for they have to be judged."""
        self._grow_by_tokens([ask for ask in asked if ask[1].kind != "draft" and self._length(ask) == 1])
        requests = [self._requests(ask) for ask in asked]
        flat = [request for of_ask in requests for request in of_ask]
        most = max((request.limit or 1 for request in flat), default=0)
        written = iter(self._engine.sample(flat, 1, most, self._sampling, self._stop) if flat else [])
        drafts = []
        for ask, of_ask in zip(asked, requests, strict=True):
            search, want = ask
            answers = [next(written)[0] for _ in of_ask]
            if want.kind == "draft":
                drafts.append((search, want.node, self._rollout(search, want.node, answers)))
            elif answers:
                search.grow(want, self._children(ask, answers))
        return drafts

    def _length(self, ask: Asked) -> int:
        """Of the branches below a node, in tokens."""
        search, want = ask
        return min(self._settings.length(want.node.depth), search.limit - len(_before(search, want.node)))

    def _requests(self, ask: Asked) -> list[Request]:
        """What has to be sampled: a draft; a greedy branch and sampled ones; or one branch more."""
        search, want = ask
        node, length = want.node, self._length(ask)
        prefix = (*search.prompt_ids, *(choice.token_id for choice in _before(search, node)))
        if want.kind == "draft":
            if node.ended or self._at_sentence_end(_before(search, node)):
                return []
            limit = min(self._settings.draft_tokens, search.limit - len(_before(search, node)))
            return [Request(prefix, self._steer, _seed(search.seed, "draft", 0), limit=limit, until=SENTENCE_ENDS)]
        if length == 1:
            return []
        if want.kind == "another":
            return [Request(prefix, self._steer, _seed(search.seed, "another", want.number), limit=length)]
        seeds = [_seed(search.seed, "branch", number) for number in range(1, self._settings.children)]
        sampled = [Request(prefix, self._steer, seed, limit=length) for seed in seeds]
        return [Request(prefix, self._steer, 0, greedy=True, limit=length), *sampled]

    def _grow_by_tokens(self, asked: Sequence[Asked]) -> None:
        """Branches of one token: the most probable ones, in one step."""
        if not asked:
            return
        requests = [
            Request((*search.prompt_ids, *(choice.token_id for choice in _before(search, want.node))), self._steer, 0)
            for search, want in asked
        ]
        steps = self._engine.sample(requests, 1, 1, self._first_sampling)
        for (search, want), (step,) in zip(asked, steps, strict=True):
            (choice,) = step.choices
            order = choice.steered_logprobs.argsort(descending=True).tolist()
            chosen = order[: self._settings.children] if want.kind == "children" else order[want.number :][:1]
            children = [(_chosen(choice, column),) for column in chosen]
            search.grow(want, [self._written(search, want.node, child, "length") for child in children])

    def _children(self, ask: Asked, answers: Sequence[Continuation]) -> list[Written]:
        """Step 3: the greedy branch first, the sampled ones behind it, each once; or step 2: a sampled one alone."""
        search, want = ask
        greedy, *sampled = (self._written(search, want.node, each.choices, each.finish_reason) for each in answers)
        others = [each for each in {each.tokens: each for each in sampled}.values() if each.tokens != greedy.tokens]
        weight, weights = greedy.weight, [each.weight for each in others]
        if len(weights) > 1:
            weight = min(max(weight, max(weights) + min(weights)), math.fsum(weights))
        return [Written(greedy.choices, weight, greedy.ended), *others]

    def _written(self, search: Search, node: Node, choices: tuple[Choice, ...], reason: FinishReason) -> Written:
        """A branch, its weight, and whether it ends the text."""
        whole = (*_before(search, node), *choices)
        ids = [choice.token_id for choice in whole]
        ended: FinishReason | None = None
        if ids[-1] in self._lm.eos_token_ids:
            ended = "eos"
        elif reason == "stop" or self._text(ids) != self._lm.decode(ids):
            ended = "stop"
        elif len(ids) >= search.limit:
            ended = "length"
        return Written(choices, self._weight(choices), ended)

    def _weight(self, choices: Sequence[Choice]) -> float:
        """The probability of the tokens, each among its candidates and at the temperature of the search."""
        temperature = self._settings.temperature
        logprobs = [(choice.steered_logprobs / temperature).log_softmax(-1)[choice.column] for choice in choices]
        return math.exp(math.fsum(float(each) for each in logprobs))

    def _rollout(self, search: Search, node: Node, answers: Sequence[Continuation]) -> Rollout:
        behind = answers[0].choices if answers else ()
        before = _before(search, node)
        ids = self._spoken((*before, *behind))
        below = accumulate((len(each.tokens) for each in node.path()[1:-1]), initial=len(search.choices))
        tails = [ids[start:] for start in below] if node.parent else []
        draft = Draft(
            search.prompt,
            search.prompt_ids,
            tuple(ids),
            self._text(ids),
            tuple(map(self._text, tails)),
            tuple(map(len, tails)),
        )
        return Rollout(draft, (*before, *behind), self._text(self._ids(behind)))

    def _at_sentence_end(self, choices: Sequence[Choice]) -> bool:
        """Whether a branch is judged as it stands, with no draft behind it."""
        return self._lm.decode(self._ids(choices)).endswith(tuple(SENTENCE_ENDS))

    def _spoken(self, choices: Sequence[Choice]) -> list[int]:
        """Token ids without an EOS, and without those that a stop string is in."""
        ids = self._ids(choices)
        length = len(self._text(ids))
        while len(self._lm.decode(ids)) > length:
            ids.pop()
        return ids

    def _ids(self, choices: Sequence[Choice]) -> list[int]:
        """Token ids without an EOS."""
        return [choice.token_id for choice in choices if choice.token_id not in self._lm.eos_token_ids]

    def _text(self, ids: Sequence[int]) -> str:
        return cut_at_stop(self._lm.decode(ids), self._stop)


def _before(search: Search, node: Node) -> tuple[Choice, ...]:
    """What is committed, and the branch down to a node."""
    return search.choices + tuple(choice for each in node.path()[1:] for choice in search.written[each].choices)


def _chosen(choice: Choice, column: int) -> Choice:
    """The same step, had another candidate been chosen."""
    return Choice(
        int(choice.candidates[column]),
        column,
        choice.candidates,
        choice.base_logprobs,
        choice.steered_logprobs,
        choice.rewards,
    )


def _seed(seed: int, *parts: object) -> int:
    """A seed of its own for each draft and branch of a search."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=7).digest())
