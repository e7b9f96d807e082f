"""Self-evaluation (RAIN, 2309.07124 §3): the model is asked about its own draft, twice, with the options swapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from trimtab.engines.base import Engine
from trimtab.errors import InvalidPrompt, InvalidSetting, UnsupportedModel
from trimtab.frozen.lm import FrozenLM
from trimtab.rewind.draft import Draft
from trimtab.rewind.question import Question, read_question

SELF = "self"
BRACKET = "("  # what every question ends with
PLACE = "\N{OBJECT REPLACEMENT CHARACTER}"


@final
@dataclass(frozen=True)
class Asked:
    """What the model answered about a text.

    Attributes:
        worths: of the answer to the question, and to the question with the options swapped.
        letters: the number of the letter that was chosen, each time.
        expected: the worth that is expected from the options' log-probabilities, each the mean over both orders.
    """

    worths: tuple[float, float]
    letters: tuple[int, int]
    expected: float


@final
class SelfJudge:
    """The model that writes judges what it wrote.

    Args:
        question: what it is asked.
        chat: ask in the chat template; default plainly.
        soft: score by the probabilities of the answers, not by the answers. Differs from the paper, where a judge with
            a bias for one letter ties; here the bias, being the same in both orders, cancels.
    """

    def __init__(self, question: Question, chat: bool = False, soft: bool = False):
        self.question, self.chat, self.soft = question, chat, soft
        self.name = f"{SELF}:{question.name}" + (", chat" if chat else "") + (", soft" if soft else "")

    @classmethod
    def named(cls, name: str, chat: bool = False, soft: bool = False) -> "SelfJudge":
        """`self` (about harmlessness), `self:truthfulness`, `self:sentiment` or `self:FILE.toml`.

        Raises:
            InvalidSetting: no such question.
        """
        kind, _, question = name.partition(":")
        if kind != SELF:
            raise InvalidSetting(f"got the judge {name!r}, expected {SELF}, {SELF}:QUESTION, or reward.away(1)")
        return cls(read_question(question or "harmlessness"), chat, soft)

    def room(self, lm: FrozenLM, prompt: str, prompt_ids: Sequence[int]) -> int:
        """What the model's context leaves beside the examples, the prompt and the question."""
        wording = _wording(lm, self.question, self.chat)
        asked = len(wording.preamble) + len(wording.opening(prompt)) + max(map(len, wording.tails))
        return lm.context_length - 1 - asked

    def score(self, drafts: Sequence[Draft], engine: Engine) -> Sequence[float]:
        """S of each draft: both questions about all drafts as one batch."""
        texts = [(draft.prompt, draft.token_ids) for draft in drafts]
        return [self.score_of(asked) for asked in self.ask(texts, engine)]

    def score_of(self, asked: Asked) -> float:
        """S = first + second − 1, so that a judge who always says the same letter scores 0; soft: twice, less 1."""
        return 2 * asked.expected - 1 if self.soft else sum(asked.worths) - 1

    def ask(self, texts: Sequence[tuple[str, Sequence[int]]], engine: Engine) -> list[Asked]:
        """Ask about texts.

        Args:
            texts: prompts, and token ids of what was said to them.
            engine: the model, with a memory; the examples and what drafts have in common are encoded once.

        Returns:
            The answers.
        """
        wording = _wording(engine.lm, self.question, self.chat)
        read = [[*wording.preamble, *wording.opening(prompt), *ids] for prompt, ids in texts]
        prefixes = [[*text, *tail] for text in read for tail in wording.tails]
        if (longest := max(map(len, prefixes))) >= engine.lm.context_length:
            raise InvalidPrompt(f"got {longest} tokens to judge, expected fewer than {engine.lm.context_length}")
        offered = [letter for letters in wording.letters for letter in letters]
        scored = torch.stack(engine.score(prefixes, [[[token] for token in offered]] * len(prefixes)))
        said = _letters(scored, wording.letters).unflatten(0, (len(texts), 2))
        by_option = torch.stack([said[:, 0], said[:, 1].flip(1)], dim=1)  # the second time the options were swapped
        worths = torch.tensor([option.worth for option in self.question.options], device=said.device)
        expected = by_option.mean(1).softmax(-1) @ worths
        chosen = by_option.argmax(-1)
        return [
            Asked((first, second), (letters[0], letters[1]), each)
            for (first, second), letters, each in zip(
                worths[chosen].tolist(), said.argmax(-1).tolist(), expected.tolist(), strict=True
            )
        ]


@final
@dataclass(frozen=True)
class Wording:
    """A question in the tokens of one model.

    Attributes:
        lm: the model.
        question: the question.
        preamble: instruction and examples.
        tails: what follows the text, plain and swapped.
        letters: for each option's letter, the tokens that say it.
    """

    lm: FrozenLM
    question: Question
    preamble: tuple[int, ...]
    tails: tuple[tuple[int, ...], tuple[int, ...]]
    letters: tuple[tuple[int, ...], ...]

    def opening(self, prompt: str) -> list[int]:
        """What stands before the text that is judged, in tokens."""
        return _ids(self.lm, self.question.opening(prompt))


def _wording(lm: FrozenLM, question: Question, chat: bool) -> Wording:
    before, behind = "", ""
    if chat:
        if not lm.tokenizer.chat_template:
            raise InvalidSetting(f"got a chat judge, but {lm.name} has no chat template; ask plainly")
        turns = [{"role": "user", "content": PLACE}]
        template = lm.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        before, _, behind = template.partition(PLACE)
    opens = list(lm.tokenizer("")["input_ids"]) if not chat else []  # BOS, where the tokenizer puts it
    plain, swapped = (tuple(_ids(lm, question.tail(way, behind or " "))) for way in (False, True))
    return Wording(
        lm,
        question,
        (*opens, *_ids(lm, before + question.preamble())),
        (plain, swapped),
        tuple(letter_tokens(lm, letter) for letter in question.letters),
    )


def letter_tokens(lm: FrozenLM, letter: str) -> tuple[int, ...]:
    """The tokens that say a letter: behind the bracket of the answer, by itself, and with a space before it.

    Raises:
        UnsupportedModel: the tokenizer has none of them as one token.
    """
    bracket = _ids(lm, BRACKET)
    behind = _ids(lm, BRACKET + letter)
    found = [_ids(lm, spelled) for spelled in (letter, f" {letter}")]
    if behind[: len(bracket)] == bracket:  # else the letter has no token of its own there
        found.insert(0, behind[len(bracket) :])
    single = tuple(dict.fromkeys(ids[0] for ids in found if len(ids) == 1 and lm.decode(ids).strip() == letter))
    if not single:
        raise UnsupportedModel(f"the tokenizer of {lm.name} has no token for {letter!r}, which a self-judge needs")
    return single


def _letters(logprobs: Float[Tensor, "asks tokens"], letters: Sequence[Sequence[int]]) -> Float[Tensor, "asks letters"]:
    """The log-probability of each letter: of all tokens that say it together."""
    parts = logprobs.split([len(tokens) for tokens in letters], dim=1)
    return torch.stack([part.logsumexp(1) for part in parts], dim=1)


def _ids(lm: FrozenLM, text: str) -> list[int]:
    return list(lm.tokenizer(text, add_special_tokens=False)["input_ids"])
