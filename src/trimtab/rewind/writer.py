"""Write the branches and drafts that searches request, those of all prompts in one batch."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import final

from trimtab.engines.base import Choice, Continuation, Engine, FinishReason, Request
from trimtab.engines.sampling_params import SamplingParams
from trimtab.engines.torch.sampling import tempered
from trimtab.judges.draft import Draft
from trimtab.models.detokenizer import cut_at_stop, visible_ids
from trimtab.rewind.rewind_settings import SENTENCE_ENDS, RewindSettings
from trimtab.rewind.search import NewBranch, Search, SearchRequest
from trimtab.rewind.tree import Node
from trimtab.steering.steer import Steer

PendingRequest = tuple[Search, SearchRequest]


@final
@dataclass(frozen=True)
class UnjudgedDraft:
    """A draft without a score yet.

    Attributes:
        draft: the text for the judge.
        choices: the tokens of the whole continuation.
        rollout_text: the text behind the branch.
        ended: why it ends.
    """

    draft: Draft
    choices: tuple[Choice, ...]
    rollout_text: str
    ended: FinishReason | None


@final
class Writer:
    """Writes what searches request.

    Args:
        engine: writes.
        steer: shapes the priors of the branches and the drafts alike.
        stop: the strings that end a text, such as the next human turn.
        settings: of the searches.
    """

    def __init__(self, engine: Engine, steer: Steer | None, stop: Sequence[str], settings: RewindSettings):
        self._engine, self._codec, self._steer, self._settings = engine, engine.codec, steer, settings
        self._stop = tuple(stop)

    def write(self, pending: Sequence[PendingRequest]) -> list[tuple[Search, Node, UnjudgedDraft]]:
        """Give the searches their children; returns the drafts, which must be judged."""
        self._grow_by_tokens(
            [request for request in pending if request[1].kind != "draft" and self._length(request) == 1]
        )
        samples = [self._samples(request) for request in pending]
        flat = [sample for of_request in samples for sample in of_request]
        written = iter(self._engine.sample(flat) if flat else [])
        drafts = []
        for request, of_request in zip(pending, samples, strict=True):
            search, wanted = request
            answers = [next(written)[0] for _ in of_request]
            if wanted.kind == "draft":
                drafts.append((search, wanted.node, self._unjudged_draft(search, wanted.node, answers)))
            elif answers:
                search.grow(wanted, self._children(request, answers))
        return drafts

    def _length(self, request: PendingRequest) -> int:
        """The length of the branches below a node, in tokens."""
        search, wanted = request
        return min(self._settings.length(wanted.node.depth), search.limit - len(_before(search, wanted.node)))

    def _samples(self, request: PendingRequest) -> list[Request]:
        """The samples to draw: one draft; or a greedy branch and sampled ones; or one more branch."""
        search, wanted = request
        node, length = wanted.node, self._length(request)
        if wanted.kind == "draft":
            before = _before(search, node)
            if node.ended or (not self._settings.whole_drafts and self._at_sentence_end(before)):
                return []
            room, whole = search.limit - len(before), self._settings.whole_drafts
            limit = room if whole else min(self._settings.draft_tokens, room)
            return [self._sample(request, _seed(search.seed, "draft", 0), limit, until="" if whole else SENTENCE_ENDS)]
        if length == 1:
            return []
        if wanted.kind == "another":
            return [self._sample(request, _seed(search.seed, "another", wanted.number), length)]
        seeds = [_seed(search.seed, "branch", number) for number in range(1, self._settings.children)]
        return [self._sample(request, 0, length, greedy=True), *(self._sample(request, seed, length) for seed in seeds)]

    def _sample(self, request: PendingRequest, seed: int, limit: int, greedy: bool = False, until: str = "") -> Request:
        params = SamplingParams(
            top_k=self._settings.top_k,
            temperature=0.0 if greedy else self._settings.temperature,
            max_new_tokens=limit,
            stop=self._stop,
            seed=seed,
            max_kl=self._settings.max_kl,
            speculate=self._settings.speculate,
        )
        return Request(_prefix(request), params, self._steer, until)

    def _grow_by_tokens(self, pending: Sequence[PendingRequest]) -> None:
        """Branches of one token: the most probable ones, in one step."""
        if not pending:
            return
        one = SamplingParams(
            top_k=self._settings.widest,
            temperature=self._settings.temperature,
            max_new_tokens=1,
            seed=0,
            max_kl=self._settings.max_kl,
            speculate=self._settings.speculate,  # one token is never drafted, but a draft head reads the prefix with it
        )
        steps = self._engine.sample([Request(_prefix(request), one, self._steer) for request in pending])
        for (search, wanted), (step,) in zip(pending, steps, strict=True):
            (choice,) = step.choices
            order = choice.steered_logprobs.argsort(descending=True).tolist()
            chosen = order[: self._settings.children] if wanted.kind == "children" else order[wanted.number :][:1]
            children = [(_chosen(choice, column),) for column in chosen]
            search.grow(wanted, [self._written(search, wanted.node, child, "length") for child in children])

    def _children(self, request: PendingRequest, answers: Sequence[Continuation]) -> list[NewBranch]:
        """Step 3: the greedy branch, then the distinct sampled ones; or step 2: one sampled branch."""
        search, wanted = request
        greedy, *sampled = (self._written(search, wanted.node, each.choices, each.finish_reason) for each in answers)
        others = [each for each in {each.tokens: each for each in sampled}.values() if each.tokens != greedy.tokens]
        weight, weights = greedy.weight, [each.weight for each in others]
        if len(weights) > 1:
            weight = min(max(weight, max(weights) + min(weights)), math.fsum(weights))
        return [NewBranch(greedy.choices, weight, greedy.ended), *others]

    def _written(self, search: Search, node: Node, choices: tuple[Choice, ...], reason: FinishReason) -> NewBranch:
        """A branch with its weight, and the reason if it ends the text."""
        whole = (*_before(search, node), *choices)
        ids = [choice.token_id for choice in whole]
        ended: FinishReason | None = None
        if ids[-1] in self._codec.eos_token_ids:
            ended = "eos"
        elif reason == "stop" or self._text(ids) != self._codec.decode_behind(ids):
            ended = "stop"
        elif len(ids) >= search.limit:
            ended = "length"
        return NewBranch(choices, self._weight(choices), ended)

    def _weight(self, choices: Sequence[Choice]) -> float:
        """The product of the tokens' probabilities among their candidates, at the temperature of the search."""
        temperature = self._settings.temperature
        scaled = [tempered(choice.steered_logprobs, temperature) for choice in choices]
        logprobs = [each.log_softmax(-1)[choice.column] for each, choice in zip(scaled, choices, strict=True)]
        return math.exp(math.fsum(float(each) for each in logprobs))

    def _unjudged_draft(self, search: Search, node: Node, answers: Sequence[Continuation]) -> UnjudgedDraft:
        behind = answers[0].choices if answers else ()
        before = _before(search, node)
        ids = self._visible_ids((*before, *behind))
        below = accumulate((len(each.tokens) for each in node.path()[1:-1]), initial=len(search.choices))
        tails = [ids[start:] for start in below] if node.parent else []
        draft = Draft.of(search.prompt, search.prompt_ids, ids, self._text(ids))
        draft = replace(draft, tails=tuple(map(self._text, tails)), tail_lengths=tuple(map(len, tails)))
        ended = answers[0].finish_reason if answers else search.written[node].ended if node.parent else None
        written = self._ids((*before, *behind))
        if self._text(written) != self._codec.decode_behind(written):  # a stop string may begin before the draft
            ended = "stop"
        return UnjudgedDraft(draft, (*before, *behind), self._text(self._ids(behind)), ended)

    def _at_sentence_end(self, choices: Sequence[Choice]) -> bool:
        """Whether a branch ends a sentence, and so is judged without a draft behind it."""
        return self._codec.decode_behind(self._ids(choices)).endswith(tuple(SENTENCE_ENDS))

    def _visible_ids(self, choices: Sequence[Choice]) -> list[int]:
        """Token ids without an EOS and without a stop string."""
        return visible_ids(self._codec, [choice.token_id for choice in choices], self._stop)

    def _ids(self, choices: Sequence[Choice]) -> list[int]:
        """Token ids without an EOS."""
        return [choice.token_id for choice in choices if choice.token_id not in self._codec.eos_token_ids]

    def _text(self, ids: Sequence[int]) -> str:
        return cut_at_stop(self._codec.decode_behind(ids), self._stop)


def _prefix(request: PendingRequest) -> tuple[int, ...]:
    """The prompt, the committed text and the branch, in tokens."""
    search, wanted = request
    return (*search.prompt_ids, *(choice.token_id for choice in _before(search, wanted.node)))


def _before(search: Search, node: Node) -> tuple[Choice, ...]:
    """The committed tokens and the branch down to a node."""
    return search.choices + tuple(choice for each in node.path()[1:] for choice in search.written[each].choices)


def _chosen(choice: Choice, column: int) -> Choice:
    """The same step with another candidate chosen."""
    return replace(choice, token_id=int(choice.candidates[column]), column=column)


def _seed(seed: int, *parts: object) -> int:
    """A separate seed for each draft and branch of a search."""
    return int.from_bytes(hashlib.blake2b(repr((seed, *parts)).encode(), digest_size=7).digest())
