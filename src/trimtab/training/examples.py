"""Tokenized texts and pairs for the trainer."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, final

from torch.utils.data import Dataset

from trimtab.checking import shown
from trimtab.data.tables import LabelledText, TextPair, digest_of
from trimtab.errors import InvalidData, InvalidSetting, WrongType
from trimtab.models.codec import TokenizerCodec
from trimtab.models.frozen_lm import FrozenLM

Train = TypeVar("Train", bound=Callable[..., Any])


class Examples(Dataset[dict[str, Any]], ABC):
    """Tokenized data that knows its size and its hash."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """A hash of the examples and their order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def first(self, most: int) -> list[dict[str, Any]]:
        """At most this many examples, from the first."""
        return [self[index] for index in range(min(most, len(self)))]


@final
class TokenizedTexts(Examples):
    """Token ids, labels and lengths, cut to a maximum length.

    A text that answers a message stands behind it, in the model's chat template; "context" is how many tokens these
    are.

    Args:
        rows: labelled texts.
        lm: the language model, for its tokenizer.
        max_tokens: longer texts lose their end; a message counts apart.

    Raises:
        InvalidData: no text has a token.
        InvalidSetting: a text, cut, does not fit the model's context, or a message, and there is no chat template.
    """

    def __init__(self, rows: Sequence[LabelledText], lm: FrozenLM, max_tokens: int):
        encoded = encode_all(lm, [row.text for row in rows])
        self.truncated = sum(len(ids) > max_tokens for ids in encoded)
        _check_length(encoded, max_tokens, lm)
        contexts = {message: context_of(lm, message) for message in {row.message for row in rows}}
        behind = [(contexts[row.message], ids[:max_tokens], row) for ids, row in zip(encoded, rows, strict=True) if ids]
        self.examples = [_example(*each) for each in behind]
        longest = max(map(len, contexts.values()), default=0)
        _check_length([each["input_ids"] for each in self.examples], max_tokens + longest, lm)
        _require(self.examples)

    @property
    def digest(self) -> str:
        """A hash of the examples and their order."""
        return digest_of(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]


def contexts_of(examples: Sequence[Mapping[str, Any]]) -> list[int]:
    """How many tokens of each example are the message that it answers."""
    return [example.get("context", 0) for example in examples]


@final
class TokenizedPairs(Examples):
    """Token ids of both texts of each pair, each cut to a maximum length. Arguments as in `TokenizedTexts`."""

    def __init__(self, rows: Sequence[TextPair], lm: FrozenLM, max_tokens: int):
        chosen = encode_all(lm, [row.chosen for row in rows])
        rejected = encode_all(lm, [row.rejected for row in rows])
        self.truncated = sum(len(ids) > max_tokens for ids in chosen + rejected)
        _check_length(chosen + rejected, max_tokens, lm)
        self.examples: list[dict[str, Any]] = [
            {"chosen": c[:max_tokens], "rejected": r[:max_tokens], "length": min(max(len(c), len(r)), max_tokens)}
            for c, r in zip(chosen, rejected, strict=True)
            if c and r
        ]
        _require(self.examples)

    @property
    def digest(self) -> str:
        """A hash of the examples and their order."""
        return digest_of(self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.examples[index]


def _example(context: list[int], ids: list[int], row: LabelledText) -> dict[str, Any]:
    whole = [*context, *ids]
    example = {"input_ids": whole, "labels": row.labels, "length": len(whole)}
    return example | ({"context": len(context)} if context else {})


def context_of(lm: FrozenLM, message: str) -> list[int]:
    """The tokens before an answer to a user's message; none for no message.

    Raises:
        InvalidSetting: the model has no chat template.
    """
    return lm.codec.encode_prompt([{"role": "user", "content": message}]) if message else []


def takes_base(train: Train) -> Train:
    """Make a function of training refuse a first argument that is no frozen model.

    Raises:
        WrongType: when it is called: the base is something else, such as a LanguageModel.
    """

    @functools.wraps(train)
    def call(*given: Any, **named: Any) -> Any:
        base = given[0] if given else named.get("base")
        if base is not None and not isinstance(base, FrozenLM):
            advice = ", write lm.base" if isinstance(getattr(base, "base", None), FrozenLM) else ""
            raise WrongType(f"got base={shown(base)}, expected a FrozenLM{advice}")
        return train(*given, **named)

    return call  # type: ignore[return-value]


def _check_length(encoded: Sequence[Sequence[int]], max_tokens: int, lm: FrozenLM) -> None:
    longest = min(max_tokens, max(map(len, encoded), default=0))
    if longest >= lm.context_length:
        raise InvalidSetting(
            f"got max_tokens={max_tokens}, and a text of {longest} tokens, expected fewer than {lm.context_length}, "
            "the context of the base"
        )


def _require(examples: Sequence[object]) -> None:
    if not examples:
        raise InvalidData("got no texts to train on, or none held out, expected at least one of each")


def encode_all(lm: FrozenLM | TokenizerCodec, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts by a model's tokenizer, without special tokens; the network adds BOS."""
    return lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
