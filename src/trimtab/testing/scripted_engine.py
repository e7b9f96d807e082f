"""An engine without a model: words are tokens, and a function gives the probabilities of the next word.

It drives generate, stream, best-of and rewind in tests in milliseconds, and shows what an engine must offer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trimtab.engines.base import Capability, Choice, Chunk, Continuation, Request, Scored, collect
from trimtab.engines.request_limit import request_limit
from trimtab.engines.torch.ending import RowEnding
from trimtab.engines.torch.guide import Guide
from trimtab.engines.torch.loop import Step
from trimtab.engines.torch.sampling import RowSampling
from trimtab.engines.torch.trace import trace_step
from trimtab.errors import InvalidPrompt, InvalidSetting, RewardMismatch
from trimtab.models.codec import Conversation, Prompt, check_conversation, prompt_text
from trimtab.models.frozen_lm import FrozenLM, PromptBatch
from trimtab.models.kv_cache import KVCache
from trimtab.models.usage import Usage
from trimtab.steering.reward import Reward, RewardState
from trimtab.steering.steer import Clamp, Steer, Term

CPU = torch.device("cpu")
EOS = "<eos>"
NextWords = Callable[[tuple[str, ...]], Mapping[str, float]]


@final
class WordCodec:
    """Words, separated by spaces, as tokens. Token 0 ends a text.

    Args:
        words: the vocabulary.
        context_length: in tokens.
    """

    name = "words"
    bos_token_id: int | None = None
    eos_token_ids = frozenset({0})
    fingerprint = "words"

    def __init__(self, words: Sequence[str], context_length: int = 256):
        self.words = (EOS, *words)
        self.context_length = context_length
        self._ids = {word: token for token, word in enumerate(self.words)}

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Token ids of a text, or of the words of a conversation."""
        if not isinstance(prompt, str):
            check_conversation(prompt)
        ids = self.encode_text(prompt_text(prompt))
        if not 0 < len(ids) < self.context_length:
            raise InvalidPrompt(f"got a prompt of {len(ids)} tokens, expected 1 to {self.context_length - 1}")
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Token ids of words that the vocabulary has.

        Raises:
            InvalidPrompt: it lacks one of them.
        """
        if unknown := [word for word in text.split() if word not in self._ids]:
            raise InvalidPrompt(f"got the word {unknown[0]!r}, expected one of {', '.join(self.words[1:])}")
        return [self._ids[word] for word in text.split()]

    def encode_literal(self, text: str) -> list[int]:
        """As `encode_text`."""
        return self.encode_text(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Each word with a space before it; EOS left out."""
        return "".join(f" {self.words[token]}" for token in ids if token not in self.eos_token_ids)

    def decode_behind(self, ids: Sequence[int]) -> str:
        """As `decode`."""
        return self.decode(ids)

    def token_text(self, token_id: int) -> str:
        """One word."""
        return self.words[token_id]

    def opening_ids(self) -> list[int]:
        """Nothing stands before a text."""
        return []

    def render(self, conversation: Conversation, continue_final_message: bool = False) -> str:
        """There is no chat template."""
        raise InvalidSetting("got a conversation to render, but words have no chat template")


@final
class ScriptedEngine:
    """Samples words by a function of the words so far, under the steering rule and the noise of every engine.

    A vocabulary of fewer than 20 words needs a smaller `top_k` than the default.

    Args:
        codec: the vocabulary.
        next_words: from the words so far to the probabilities of the next word; `EOS` ends a text. Words that it
            leaves out have probability 0.
        capabilities: what `require` sees, so that tests can leave capabilities out.
    """

    base: FrozenLM | None = None

    def __init__(
        self,
        codec: WordCodec,
        next_words: NextWords,
        capabilities: frozenset[Capability] = frozenset({"score", "read", "rewards"}),
    ):
        self.codec, self.capabilities = codec, capabilities
        self._next_words, self._usage = next_words, Usage()

    @property
    def vocabulary_size(self) -> int:
        """Words and EOS."""
        return len(self.codec.words)

    @property
    def usage(self) -> Usage:
        """One call per token written or scored."""
        return self._usage.copy()

    def describe(self) -> dict[str, str]:
        """The engine's name and vocabulary."""
        return {
            "engine": "scripted",
            "model": self.codec.name,
            "base_fingerprint": self.codec.fingerprint,
            "dtype": "float32",
            "device": "cpu",
        }

    def session(self) -> "ScriptedEngine":
        """The same script with a usage count of its own."""
        session = ScriptedEngine(self.codec, self._next_words, self.capabilities)
        session._usage = Usage(parent=self._usage)
        return session

    def sample(self, requests: Sequence[Request]) -> list[list[Continuation]]:
        """The n continuations of each request."""
        return collect(requests, self.stream(requests))

    def stream(self, requests: Sequence[Request]) -> Iterator[list[Chunk]]:
        """The same continuations, sample by sample and word by word."""
        if not requests:
            raise InvalidSetting("got no prompts, expected at least one")
        return self._chunks(requests, [self._limit(request) for request in requests])

    def _chunks(self, requests: Sequence[Request], limits: Sequence[int]) -> Iterator[list[Chunk]]:
        for number, (request, limit) in enumerate(zip(requests, limits, strict=True)):
            sampling = RowSampling.of([request], CPU)
            for sample in range(request.params.n):
                for chunk in self._write(request, sampling.select([sample]), limit, number, sample):
                    yield [chunk]

    def _write(self, request: Request, sampling: RowSampling, limit: int, number: int, sample: int) -> Iterator[Chunk]:
        guide, ending = Guide([request.steer], CPU), RowEnding(self.codec, request, limit)
        guide.prefill(PromptBatch.pad([request.tokens], 0, CPU))
        ids = list(request.tokens)
        while ending.reason is None:
            step = self._step(guide, sampling, ids)
            guide.advance(step.tokens, step.columns)
            token = int(step.tokens[0])
            ids.append(token)
            ending.take([token])
            yield Chunk(number, sample, tuple(_traced(step, request)), ending.reason)

    def _step(self, guide: Guide, sampling: RowSampling, ids: Sequence[int]) -> Step:
        prefix = torch.tensor([ids])
        logits = sampling.constrained(
            self._logits(ids)[None], lambda: (prefix, torch.ones_like(prefix, dtype=torch.bool))
        )
        candidates = sampling.candidates(logits)
        steered, rewards = guide.steer(candidates, logits, sampling.budget)
        columns = sampling.choose(steered, candidates.ids)
        tokens = candidates.ids.gather(1, columns[:, None]).squeeze(1)
        base = logits.log_softmax(-1).gather(1, candidates.ids)
        return Step(tokens, columns, candidates, base, steered, rewards, guide.finite, guide.scale)

    def score(
        self,
        prefixes: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[Sequence[int]]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[Scored]:
        """The likelihood of each continuation, unsteered.

        Raises:
            InvalidSetting: a steer.
        """
        if steer is not None:
            raise InvalidSetting("got a steer, expected None: the scripted engine scores unsteered text")
        return [self._scored(prefix, each) for prefix, each in zip(prefixes, continuations, strict=True)]

    def _scored(self, prefix: Sequence[int], continuations: Sequence[Sequence[int]]) -> Scored:
        steps = [
            [(self._logits([*prefix, *ids[:place]]).log_softmax(-1), token) for place, token in enumerate(ids)]
            for ids in continuations
        ]
        logprobs = [sum(float(logits[token]) for logits, token in of_text) for of_text in steps]
        greedy = [all(int(logits.argmax()) == token for logits, token in of_text) for of_text in steps]
        return Scored(torch.tensor(logprobs), torch.tensor(greedy))

    def read(
        self,
        texts: Sequence[Sequence[int]],
        steer: Steer | None = None,
        top_k: int | None = None,
        max_kl: float | None = None,
    ) -> list[tuple[Choice, ...]]:
        """The choice of each word but the first, among all words, unsteered.

        Raises:
            InvalidSetting: a steer.
        """
        if steer is not None:
            raise InvalidSetting("got a steer, expected None: the scripted engine reads unsteered text")
        return [tuple(self._read(ids[:place], ids[place]) for place in range(1, len(ids))) for ids in texts]

    def _read(self, ids: Sequence[int], token: int) -> Choice:
        logprobs = self._logits(ids).log_softmax(-1)
        return Choice(token, token, torch.arange(len(logprobs)), logprobs, logprobs, {})

    def rewards(self, reward: Reward, texts: Sequence[Sequence[int]]) -> Float[Tensor, "texts attributes"]:
        """The rewards of whole texts, unclamped."""
        batch = PromptBatch.pad([text[:-1] for text in texts], 0, CPU)
        state = reward.start()
        state.prefill(batch.ids, batch.mask)
        return state.rewards(torch.tensor([text[-1:] for text in texts]))[:, 0]

    def states(self, texts: Sequence[Sequence[int]], last: Sequence[int]) -> list[Float[Tensor, "positions hidden"]]:
        """The words so far, counted: a hidden state for tests."""
        counts = [torch.nn.functional.one_hot(torch.tensor(text), self.vocabulary_size).cumsum(0) for text in texts]
        return [each[-positions:].float() for each, positions in zip(counts, last, strict=True)]

    def _logits(self, ids: Sequence[int]) -> Float[Tensor, " vocabulary"]:
        self._usage.count(1)
        probabilities = self._next_words(tuple(self.codec.words[token] for token in ids))
        return torch.tensor([probabilities.get(word, 0.0) for word in self.codec.words]).log()

    def _limit(self, request: Request) -> int:
        return request_limit(request, self.codec, self.vocabulary_size)


@final
class WordReward:
    """A reward that knows the worth of words: the reward of a text is that of its last word.

    Args:
        codec: the vocabulary.
        worth: of each word; 0 for the others.
    """

    name = "words"
    attributes = ("worth",)
    extra_tokens = 0
    pad_token_id = 0

    def __init__(self, codec: WordCodec, worth: Mapping[str, float]):
        self.context_length = codec.context_length
        self._fingerprint = codec.fingerprint
        self._worth = torch.tensor([[worth.get(word, 0.0)] for word in codec.words])

    def toward(self, beta: float, clamp: Clamp | None = (0.0, 1.0)) -> Steer:
        """A steer toward worthy words."""
        return Steer((Term(self, 0, beta, clamp=clamp),))

    def describe(self) -> dict[str, str]:
        """The reward in records of a run."""
        return {"reward": self.name, "source": self.name, "fingerprint": type(self).__name__}

    def check_serves(self, tokenizer_fingerprint: str) -> None:
        """Refuse another vocabulary."""
        if tokenizer_fingerprint != self._fingerprint:
            raise RewardMismatch(f"got the vocabulary {tokenizer_fingerprint}, expected {self._fingerprint}")

    def check_candidates(self, k: int | None) -> None:
        """Any number of candidates will do."""

    def start(self, host: KVCache | None = None) -> "WordState":
        """A new state."""
        return WordState(self._worth)

    def reads(self, model: object) -> int | None:
        """It reads no hidden states."""
        return None


@final
class WordState:
    """The state of a `WordReward`: none, because the next word alone decides."""

    def __init__(self, worth: Float[Tensor, "vocabulary 1"]):
        self._worth = worth

    def prefill(self, ids: Int[Tensor, "rows slots"], mask: Bool[Tensor, "rows slots"]) -> None:
        """Note the number of rows."""
        self._rows = ids.shape[0]

    def rewards(self, candidates: Int[Tensor, "rows k"] | None) -> Float[Tensor, "rows k 1"]:
        """The worth of each candidate."""
        return self._worth.expand(self._rows, -1, -1) if candidates is None else self._worth[candidates]

    def advance(self, tokens: Int[Tensor, " rows"], choice: Int[Tensor, " rows"] | None = None) -> None:
        """The prefix does not matter."""

    def select(self, rows: Int[Tensor, " selected"]) -> None:
        """Note the number of rows."""
        self._rows = len(rows)

    def join(self, other: RewardState) -> None:
        """Note the number of rows."""
        assert isinstance(other, WordState)
        self._rows += other._rows

    def rollback(self, tokens: int) -> None:
        """The prefix does not matter."""


def _traced(step: Step, request: Request) -> list[Choice]:
    return trace_step(step, [request.params.top_k])
