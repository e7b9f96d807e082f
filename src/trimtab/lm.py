"""The face: a frozen language model that a user loads, steers and reads."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import torch

from trimtab.best_of import rank
from trimtab.engines.base import Request
from trimtab.engines.guide import rewards_of
from trimtab.engines.sampling import resolve_seeds
from trimtab.engines.settings import DEFAULT_MAX_NEW_TOKENS, DEFAULT_TOP_K, Sampling
from trimtab.engines.torch import TorchEngine
from trimtab.errors import InvalidSetting
from trimtab.frozen.lm import FrozenLM
from trimtab.frozen.memory import Memory
from trimtab.frozen.sources import load_frozen
from trimtab.generation import Generation, Token, stream_tokens
from trimtab.rewards.model import RewardModel
from trimtab.rewards.shelf import load_reward
from trimtab.rewind.settings import Budget, RewindSettings
from trimtab.steering.steer import Steer

if TYPE_CHECKING:
    from trimtab.rewind.rewinder import Turn

Steering = Steer | None | Sequence[Steer | None]


def load(name: str = "smollm2", device: str | None = None, dtype: torch.dtype | None = None) -> "LanguageModel":
    """Load a language model.

    Args:
        name: "smollm2" (SmolLM2-135M-Instruct), a local folder, a .gguf file, or a Hub id.
        device: a torch device; default the GPU if there is one, else the CPU.
        dtype: default float32 on a CPU, else what the weights were saved in.

    Raises:
        ModelNotFound: nothing of that name can be loaded.
        UnsupportedModel: it loads, but its cache cannot be rewound.
    """
    return LanguageModel(load_frozen(name, device, dtype))


@final
class LanguageModel:
    """A frozen language model that can be steered while it writes.

    Args:
        frozen: the weights and the tokenizer.
        memory: of encoded prefixes, for all calls; it also counts what goes through the models. None: no memory, but
            for that of a search while it lasts.
    """

    def __init__(self, frozen: FrozenLM, memory: Memory | None = None):
        self.frozen = frozen
        self.memory = memory
        self.engine = TorchEngine(frozen, memory)

    def __repr__(self) -> str:
        return f"LanguageModel({self.frozen.name!r}, {self.frozen.model.dtype}, {self.frozen.device})"

    def generate(
        self,
        prompts: str | Sequence[str],
        steer: Steering = None,
        *,
        n: int = 1,
        top_k: int | None = DEFAULT_TOP_K,
        top_p: float | None = None,
        temperature: float = 1.0,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
        stop: str | Sequence[str] = (),
        seed: int | Sequence[int] | None = None,
        chat: bool = False,
    ) -> Any:
        """Continue prompts.

        Args:
            prompts: one, or several that are written as one batch.
            steer: one for all, or one (or None) for each prompt.
            n: samples of each prompt; they share the prompt's cache.
            top_k, top_p: the candidates; None for no limit.
            temperature: divides the steered logits; 0 is greedy.
            max_new_tokens: the most tokens to write; fewer where the context ends.
            stop: a string, or several, that end a text; left out of it.
            seed: one for all or one for each prompt. A text depends on its prompt, seed and settings only, never on
                what else is in the batch.
            chat: apply the chat template.

        Returns:
            A Generation for one prompt, a list of them for several; with n > 1, a list of n in each one's place.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch: before anything is written.
        """
        stop = as_list(stop)
        several = [prompts] if isinstance(prompts, str) else list(prompts)
        requests = self._requests(several, steer, seed, chat)
        written = self._write(several, requests, n, max_new_tokens, Sampling(top_k, top_p, temperature), stop)
        shaped = [of_prompt[0] for of_prompt in written] if n == 1 else written
        return shaped[0] if isinstance(prompts, str) else shaped

    def best_of(
        self,
        prompts: str | Sequence[str],
        n: int,
        by: RewardModel | Steer,
        steer: Steering = None,
        *,
        top_k: int | None = DEFAULT_TOP_K,
        top_p: float | None = None,
        temperature: float = 1.0,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
        stop: str | Sequence[str] = (),
        seed: int | Sequence[int] | None = None,
        chat: bool = False,
    ) -> Any:
        """Write n drafts of each prompt and rank them by the reward of prompt and draft.

        Args:
            prompts: one, or several that are written as one batch.
            n: how many drafts, all in one batch over the prompt's cache.
            by: a reward, whose first attribute is to be high, or a Steer: Σ ±β · r of the whole text is to be high.
            steer, top_k, top_p, temperature, max_new_tokens, stop, seed, chat: how the drafts are written, as in
                `generate`.

        Returns:
            A Best for one prompt, a list of them for several: its `text` is the best draft's.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch: before anything is written.
        """
        several = [prompts] if isinstance(prompts, str) else list(prompts)
        if not isinstance(by, RewardModel | Steer):
            raise InvalidSetting(f"got by={by!r}, expected a reward or a Steer: trimtab.reward({by!r}, lm)")
        by = by if isinstance(by, Steer) else by.toward(1.0)
        for ranking in rewards_of([by]):
            ranking.check_serves(self.frozen.tokenizer_fingerprint)
        sampling = Sampling(top_k, top_p, temperature)
        requests = self._requests(several, steer, seed, chat)
        drafts = self._write(several, requests, n, max_new_tokens, sampling, as_list(stop))
        ranked = rank(self.frozen, by, [request.prefix for request in requests], drafts)
        return ranked[0] if isinstance(prompts, str) else ranked

    def rewind(
        self,
        prompts: str | Sequence[str],
        judge: Any = "self",
        steer: Steering = None,
        settings: RewindSettings | None = None,
        *,
        similarity: Any = "lm",
        stop: str | Sequence[str] = (),
        seed: int | Sequence[int] | None = None,
        chat: bool = False,
        budget: Budget | None = None,
        progress: Callable[["Turn"], None] = lambda turn: None,
    ) -> Any:
        """Search for a continuation that a judge likes: RAIN (2309.07124), words written, judged and taken back.

        Args:
            prompts: one, or several that are searched together.
            judge: "self" (the model is asked whether its draft is harmless), "self:truthfulness", "self:sentiment",
                "self:FILE.toml", a Steer (rewards towards or away), a function of prompt and continuation, or any
                object with a name and a score method; scores go from −1 to 1.
            steer: one for all: shapes the branches' priors and the drafts by rewards.
            settings: of the search; default the paper's.
            similarity: how branches are compared: "lm" (the model's own hidden states), "off", or the name of a
                sentence-transformers model, such as the paper's sentence-transformers/all-MiniLM-L6-v2.
            stop: a string, or several, that end a text, such as the next human turn; left out of it.
            seed: one for all or one for each prompt. A text depends on its prompt, seed and settings only, never on
                what else is searched beside it; unless a budget of tokens or seconds cuts it short.
            chat: apply the chat template.
            budget: what the call may cost; what has been found by then is returned.
            progress: called after each turn.

        Returns:
            A Rewound for one prompt, a list of them for several. Ctrl-C ends a search with what there is.

        Raises:
            InvalidPrompt, InvalidSetting, RewardMismatch: before anything is written.
            InvalidData: a judge's score is not a number from −1 to 1.
        """
        from trimtab.rewind.run import rewind_prompts

        if not isinstance(settings, RewindSettings | None) or not isinstance(budget, Budget | None):
            raise InvalidSetting(f"got settings={settings!r}, budget={budget!r}, expected RewindSettings(…), Budget(…)")
        if not isinstance(steer, Steer | None):
            raise InvalidSetting(f"got steer={steer!r}, expected a Steer, one for all prompts: reward.toward(beta)")
        several = [prompts] if isinstance(prompts, str) else list(prompts)
        searched = rewind_prompts(
            self.frozen,
            several,
            judge,
            steer,
            settings or RewindSettings(),
            similarity=similarity,
            stop=as_list(stop),
            seeds=resolve_seeds(seed, len(several)),
            chat=chat,
            budget=budget or Budget(),
            memory=self.memory or Memory(),
            progress=progress,
        )
        return searched[0] if isinstance(prompts, str) else searched

    def stream(
        self,
        prompt: str,
        steer: Steer | None = None,
        *,
        top_k: int | None = DEFAULT_TOP_K,
        top_p: float | None = None,
        temperature: float = 1.0,
        max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        chat: bool = False,
    ) -> Iterator[Token]:
        """Continue a prompt token by token; the texts joined are what `generate` returns. Arguments as there."""
        stop = as_list(stop)
        requests = self._requests([prompt], steer, seed, chat)
        blocks = self.engine.blocks(requests, 1, max_new_tokens, Sampling(top_k, top_p, temperature), stop, poll=1)
        choices = ((block.choices()[0][0], block.ended.get(0)) for block in blocks)
        return stream_tokens(self.frozen, choices, stop)

    def _write(
        self,
        prompts: Sequence[str],
        requests: Sequence[Request],
        n: int,
        max_new_tokens: int,
        sampling: Sampling,
        stop: Sequence[str],
    ) -> list[list[Generation]]:
        continuations = self.engine.sample(requests, n, max_new_tokens, sampling, stop)
        return [
            [Generation(self.frozen, prompt, continuation, stop) for continuation in of_prompt]
            for prompt, of_prompt in zip(prompts, continuations, strict=True)
        ]

    def _requests(
        self, prompts: Sequence[str], steer: Steering, seed: int | Sequence[int] | None, chat: bool
    ) -> list[Request]:
        if isinstance(steer, str):
            raise InvalidSetting(f"got steer={steer!r}, expected a Steer: trimtab.reward({steer!r}, lm).toward(beta)")
        steers = [steer] * len(prompts) if steer is None or isinstance(steer, Steer) else list(steer)
        if len(steers) != len(prompts):
            raise InvalidSetting(f"got {len(steers)} steers, expected one, or one for each of {len(prompts)} prompts")
        ids = [self.frozen.encode(prompt, chat) for prompt in prompts]
        seeds = resolve_seeds(seed, len(prompts))
        return [Request(*request) for request in zip(ids, steers, seeds, strict=True)]


def as_list(strings: str | Sequence[str]) -> Sequence[str]:
    """One string as a list of it."""
    return [strings] if isinstance(strings, str) else strings


def reward(name: str, lm: LanguageModel | None = None) -> RewardModel:
    """Load a reward model.

    Args:
        name: a bundled name (`trimtab rewards list`), a folder, or a Hub id.
        lm: the language model to be steered; default the reward's own base, loaded for it.

    Raises:
        RewardNotFound: nothing of that name.
        RewardMismatch: the tokenizer of `lm` is not the reward's.
        CorruptReward: the folder is damaged.
    """
    return load_reward(name, lm.frozen if lm else None)
