"""The model judges its own draft twice, in both option orders (RAIN, 2309.07124 §3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Capability, Engine, require
from trimtab.errors import InvalidPrompt, InvalidSetting, UnsupportedModel
from trimtab.judges.draft import Draft
from trimtab.judges.question import SELF, Question, question_of
from trimtab.models.codec import TextCodec

BRACKET = "("  # every question ends with it
PLACE = "\N{OBJECT REPLACEMENT CHARACTER}"  # stands for the text in a chat template


@final
@dataclass(frozen=True)
class SelfEvaluation:
    """The model's answers about one text.

    Attributes:
        scores: the score of the answer to the question, and of the answer with the options swapped; from 0 to 1.
        letters: the index of the chosen letter, each time.
        expected: the expected score by the options' log-probabilities, which are averaged over both orders.
    """

    scores: tuple[float, float]
    letters: tuple[int, int]
    expected: float


@final
class SelfJudge:
    """The model judges the text that it wrote. The score is the mean of its two answers' scores.

    Args:
        question: the question.
        chat: ask in the model's chat template; default: as plain text.
        soft: score by the probabilities of the options instead of the chosen ones.

    Differs from the paper with `soft`: there, a model that prefers one letter gives both orders different answers, and
    the score is ½. Here the preference cancels, because it is the same in both orders.
    """

    needs: frozenset[Capability] = frozenset({"score"})

    def __init__(self, question: Question, chat: bool = False, soft: bool = False):
        self.question, self.chat, self.soft = question, chat, soft
        self.name = f"{SELF}:{question.name}" + (", chat" if chat else "") + (", soft" if soft else "")

    def describe(self) -> dict[str, str]:
        """A hash of the question. The engine that answers it is in the same record."""
        return {"question_sha256": self.question.digest}

    @classmethod
    def from_text(cls, text: str, chat: bool = False, soft: bool = False) -> "SelfJudge":
        """A judge from `self` (harmlessness), `self:truthfulness`, `self:sentiment` or `self:FILE.toml`.

        Raises:
            InvalidSetting: there is no such question.
            InvalidData: the file is not a question.
        """
        return cls(question_of(text), chat, soft)

    def room(self, codec: TextCodec, prompt: str, prompt_ids: Sequence[int]) -> int:
        """The tokens that the examples, the prompt and the question leave of the model's context."""
        tokenized = tokenize_question(codec, self.question, self.chat)
        others = len(tokenized.preamble) + len(tokenized.opening(prompt)) + max(map(len, tokenized.tails))
        return codec.context_length - 1 - others

    def score(self, drafts: Sequence[Draft], engine: Engine | None) -> Sequence[float]:
        """The score of each draft; all questions about all drafts are one batch.

        Raises:
            InvalidSetting: there is no engine.
        """
        if engine is None:
            raise InvalidSetting(f"got no engine for the judge {self.name!r}, expected the one that wrote the texts")
        texts = [(draft.prompt, draft.token_ids) for draft in drafts]
        return [self.score_of(evaluation) for evaluation in self.evaluate(texts, engine)]

    def score_of(self, evaluation: SelfEvaluation) -> float:
        """Mean score of both answers; with soft, the expected score."""
        return evaluation.expected if self.soft else sum(evaluation.scores) / 2

    def evaluate(self, texts: Sequence[tuple[str, Sequence[int]]], engine: Engine) -> list[SelfEvaluation]:
        """Ask the model about texts.

        Args:
            texts: prompts, and the token ids of their continuations.
            engine: the model. With a prefix cache, the examples and the drafts' common beginnings are encoded once.

        Raises:
            UnsupportedByEngine: the engine computes no likelihoods.
            InvalidPrompt: a text is too long for the model's context.
            UnsupportedModel: the tokenizer has no token for a letter.
        """
        require(engine, self.needs, f"the judge {self.name!r}")
        tokenized = tokenize_question(engine.codec, self.question, self.chat)
        starts = [[*tokenized.preamble, *tokenized.opening(prompt), *ids] for prompt, ids in texts]
        prefixes = [[*start, *tail] for start in starts for tail in tokenized.tails]
        if (longest := max(map(len, prefixes))) >= engine.codec.context_length:
            raise InvalidPrompt(f"got {longest} tokens to judge, expected fewer than {engine.codec.context_length}")
        tokens = [[token] for letter in tokenized.letters for token in letter]
        scored = torch.stack([each.logprobs for each in engine.score(prefixes, [tokens] * len(prefixes))])
        letters = _letter_logprobs(scored, tokenized.letters).unflatten(0, (len(texts), 2))
        return self._evaluations(letters)

    def _evaluations(self, letters: Float[Tensor, "texts 2 letters"]) -> list[SelfEvaluation]:
        options = torch.stack([letters[:, 0], letters[:, 1].flip(1)], dim=1)  # the second time they were swapped
        scores = torch.tensor([option.score for option in self.question.options], device=letters.device)
        expected = options.mean(1).softmax(-1) @ scores
        chosen = zip(scores[options.argmax(-1)].tolist(), letters.argmax(-1).tolist(), expected.tolist(), strict=True)
        return [SelfEvaluation((a, b), (first, second), each) for (a, b), (first, second), each in chosen]


@final
@dataclass(frozen=True)
class TokenizedQuestion:
    """A question in the tokens of one model.

    Attributes:
        codec: the model's codec.
        question: the question.
        preamble: the instruction and the examples.
        tails: the tokens behind the text, with the options in their order and swapped.
        letters: for each option's letter, the tokens that say it.
    """

    codec: TextCodec
    question: Question
    preamble: tuple[int, ...]
    tails: tuple[tuple[int, ...], tuple[int, ...]]
    letters: tuple[tuple[int, ...], ...]

    def opening(self, prompt: str) -> list[int]:
        """The tokens between the preamble and the text that is judged."""
        return self.codec.encode_literal(self.question.opening(prompt))  # a control token of a user is text


def tokenize_question(codec: TextCodec, question: Question, chat: bool) -> TokenizedQuestion:
    """A question in a model's tokens.

    Raises:
        InvalidSetting: `chat`, and the model has no chat template.
        UnsupportedModel: the tokenizer has no token for a letter.
    """
    before, behind = _around(codec) if chat else ("", "")
    special = [] if chat else codec.opening_ids()
    plain, swapped = (tuple(codec.encode_text(question.tail(each, behind or " "))) for each in (False, True))
    return TokenizedQuestion(
        codec,
        question,
        (*special, *codec.encode_text(before + question.preamble())),
        (plain, swapped),
        tuple(letter_tokens(codec, letter) for letter in question.letters),
    )


def _around(codec: TextCodec) -> tuple[str, str]:
    try:
        before, _, behind = codec.render([{"role": "user", "content": PLACE}]).partition(PLACE)
        return before, behind
    except InvalidSetting as error:
        raise InvalidSetting(
            f"got a judge that asks in a chat, but {codec.name} has no chat template; ask in plain text"
        ) from error


def letter_tokens(codec: TextCodec, letter: str) -> tuple[int, ...]:
    """The tokens that say a letter: behind the bracket of the answer, alone, and with a space before it.

    Raises:
        UnsupportedModel: the tokenizer has none of them as one token.
    """
    bracket = codec.encode_text(BRACKET)
    behind = codec.encode_text(BRACKET + letter)
    found = [codec.encode_text(spelled) for spelled in (letter, f" {letter}")]
    if behind[: len(bracket)] == bracket:  # else the letter has no token of its own there
        found.insert(0, behind[len(bracket) :])
    single = tuple(dict.fromkeys(ids[0] for ids in found if len(ids) == 1 and codec.decode(ids).strip() == letter))
    if not single:
        raise UnsupportedModel(f"the tokenizer of {codec.name} has no token for {letter!r}, which a self-judge needs")
    return single


def _letter_logprobs(
    logprobs: Float[Tensor, "asks tokens"], letters: Sequence[Sequence[int]]
) -> Float[Tensor, "asks letters"]:
    """The log-probability of each letter: the sum of the probabilities of its tokens."""
    parts = logprobs.split([len(tokens) for tokens in letters], dim=1)
    return torch.stack([part.logsumexp(1) for part in parts], dim=1)
