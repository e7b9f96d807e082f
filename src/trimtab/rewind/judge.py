"""Judges: who scores a draft, from −1 (bad) to 1 (good). A new one is a name and a function from drafts to scores."""

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Protocol, final, runtime_checkable

from trimtab.engines.base import Engine
from trimtab.engines.guide import rewards_of
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.rewards.model import RewardModel
from trimtab.rewind.draft import Draft
from trimtab.steering.steer import Steer, Term

LOW, HIGH = -1.0, 1.0


@runtime_checkable
class Judge(Protocol):
    """Who scores drafts."""

    @property
    def name(self) -> str:
        """For the record."""

    def score(self, drafts: Sequence[Draft], engine: Engine) -> Sequence[float]:
        """s of each draft, from −1 to 1; what the engine reads for it is read from its memory where it can be."""


@runtime_checkable
class ReadsTokens(Protocol):
    """A judge that reads tokens with a model of its own context, as rewards and self-judges do."""

    def room(self, lm: FrozenLM, prompt: str, prompt_ids: Sequence[int]) -> int:
        """How many tokens it can read of a continuation of a prompt; RewardMismatch if it cannot read those of `lm`."""


@final
class FunctionJudge:
    """Any Python function as a judge.

    Args:
        function: of a prompt and a continuation, a number from −1 (bad) to 1 (good).
        name: for the record; default the function's own.

    Raises:
        InvalidSetting: it does not take two texts.
    """

    def __init__(self, function: Callable[[str, str], float], name: str = ""):
        self._function = function
        self.name: str = name or str(getattr(function, "__name__", "function"))
        try:
            inspect.signature(function).bind("prompt", "continuation")
        except TypeError as error:
            raise InvalidSetting(
                f"got the judge {self.name!r}, expected a function of two texts, prompt and continuation: {error}"
            ) from error
        except ValueError:  # some that are built in have no signature
            pass

    def score(self, drafts: Sequence[Draft], engine: Engine) -> Sequence[float]:
        """Ask the function about each draft."""
        return checked(self.name, [self._function(draft.prompt, draft.text) for draft in drafts])


@final
class TextJudge:
    """A classifier of texts as a judge: a transformers pipeline, a judge of `trimtab evaluate`, anything that scores.

    Args:
        classify: of some continuations, each from 0 to 1.
        name: for the record.
        avoid: whether high is bad.
    """

    def __init__(self, classify: Callable[[Sequence[str]], Sequence[float]], name: str, avoid: bool = False):
        self._classify, self._sign, self.name = classify, -1.0 if avoid else 1.0, name

    @classmethod
    def of_pipeline(cls, pipeline: Any, label: str, avoid: bool = False) -> "TextJudge":
        """A text-classification pipeline of transformers, by the probability of one of its labels."""

        def classify(texts: Sequence[str]) -> list[float]:
            found = pipeline(list(texts), truncation=True, top_k=None)
            return [next(each["score"] for each in of_text if each["label"] == label) for of_text in found]

        labels = list(pipeline.model.config.id2label.values())
        if label not in labels:
            raise InvalidSetting(f"got the label {label!r}, expected one of {', '.join(map(str, labels))}")
        return cls(classify, label, avoid)

    def score(self, drafts: Sequence[Draft], engine: Engine) -> Sequence[float]:
        """Ask the classifier about all drafts at once."""
        read = self._classify([draft.text for draft in drafts])
        return checked(self.name, [self._sign * (2 * float(each) - 1) for each in read])


@final
class RewardJudge:
    """Rewards as a judge: no question and no examples, one forward of the new tokens.

    Each term's clamped reward g is stretched from its range to [−1, 1]; several are averaged by their β.

    Args:
        steer: which rewards, each towards or away.
        alone: read the continuation without its prompt: what a bad prompt says is not the continuation's fault.
    """

    def __init__(self, steer: Steer, alone: bool = False):
        if not steer.terms or any(term.clamp is None for term in steer.terms):
            raise InvalidSetting(f"got {steer} to judge by, expected rewards with a range, such as clamp=(0, 1)")
        if alone and any(not term.reward.extra_tokens for term in steer.terms):
            raise InvalidSetting(f"got alone=True with {steer}, expected rewards that put BOS before a text")
        self._steer, self._alone = steer, alone
        self._total = math.fsum(abs(term.beta) for term in steer.terms)
        if not self._total:
            raise InvalidSetting("got β = 0 to judge by, expected toward(1) or away(1)")
        self.name = str(steer)

    def room(self, lm: FrozenLM, prompt: str, prompt_ids: Sequence[int]) -> int:
        """What the contexts of the rewards leave.

        Raises:
            RewardMismatch: a reward has other tokens.
        """
        rewards = rewards_of([self._steer])
        for reward in rewards:
            reward.check_serves(lm.tokenizer_fingerprint)
        context = min(reward.context_length - reward.extra_tokens for reward in rewards)
        return context - (0 if self._alone else len(prompt_ids))

    def score(self, drafts: Sequence[Draft], engine: Engine) -> Sequence[float]:
        """The rewards of prompt and continuation, or of the continuation alone; 0 where there is nothing to read."""
        texts = [[*(() if self._alone else draft.prompt_ids), *draft.token_ids] for draft in drafts]
        scores = [0.0] * len(drafts)
        for reward in rewards_of([self._steer]):
            legible = [row for row, text in enumerate(texts) if len(text) + reward.extra_tokens >= 2 and text]
            read = engine.rewards(reward, [texts[row] for row in legible]).tolist() if legible else []
            for term in (term for term in self._steer.terms if term.reward is reward):
                for row, values in zip(legible, read, strict=True):
                    scores[row] += term.beta / self._total * _stretched(values[term.attribute], term)
        return checked(self.name, scores)


def as_judge(judge: Any) -> Judge:
    """What a user gives as a judge: a judge, a Steer, a function of prompt and continuation, or a question's name.

    Raises:
        InvalidSetting: something else.
    """
    from trimtab.rewind.self_judge import SelfJudge

    if isinstance(judge, str):
        return SelfJudge.named(judge)
    if isinstance(judge, Steer):
        return RewardJudge(judge)
    if isinstance(judge, RewardModel):
        raise InvalidSetting(f"got the reward {judge.name!r} as a judge, expected which way: .toward(1) or .away(1)")
    if isinstance(judge, Judge):
        return judge
    if callable(judge):
        return FunctionJudge(judge)
    raise InvalidSetting(
        f"got judge={judge!r}, expected 'self', a Steer such as trimtab.reward('toxicity', lm).away(1), "
        "a function of prompt and continuation, or an object with a name and a score method"
    )


def checked(name: str, scores: Sequence[Any]) -> list[float]:
    """The scores, if they are numbers from −1 to 1.

    Raises:
        InvalidData: one is not.
    """
    for score in scores:
        if not isinstance(score, Real) or not LOW - 1e-6 <= float(score) <= HIGH + 1e-6:
            raise InvalidData(f"the judge {name!r} gave {score}, expected a number from -1 (bad) to 1 (good)")
    return [min(max(float(score), LOW), HIGH) for score in scores]


def _stretched(reward: float, term: Term) -> float:
    assert term.clamp is not None
    low, high = term.clamp
    share = (min(max(reward, low), high) - low) / (high - low)
    return 1 - 2 * share if term.away else 2 * share - 1
