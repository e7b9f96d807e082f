"""The running requests of one vLLM engine. Threads share it: they take turns, one step each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, final

from trimtab.engines.vllm.asked import Asked
from trimtab.engines.vllm.request_settings import TICKETS
from trimtab.engines.vllm.tapped_models import kept_depths
from trimtab.errors import InvalidPrompt
from trimtab.models.turns import Turns
from trimtab.rewards.reward_model import RewardModel
from trimtab.steering.steer import distinct_rewards

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

Likelihoods = list[dict[int, Any] | None]


@final
@dataclass(eq=False)
class RunningRequest:
    """A request that vLLM has.

    Attributes:
        name: its own.
        extra_args: its ticket; None if the processor has no part in it.
        likelihoods: of its prompt's tokens, once they are known, if they were asked for.
    """

    name: str
    extra_args: dict[str, Any] | None = None
    likelihoods: Likelihoods = field(default_factory=list)
    done: bool = False


@final
class RequestPool:
    """Adds requests, runs steps and ends requests.

    Args:
        engine: vLLM's, in this process.
    """

    def __init__(self, engine: "LLMEngine"):
        self._engine = engine
        self._requests: dict[str, RunningRequest] = {}
        self._numbers = count()
        self.lock = Turns()

    @property
    def context_length(self) -> int:
        """The longest text that vLLM takes, in tokens."""
        return self._engine.vllm_config.model_config.max_model_len

    @cached_property
    def kept_depths(self) -> list[int]:
        """The depths whose hidden states rewards may read."""
        return kept_depths(self._engine.vllm_config)

    @property
    def engine(self) -> "LLMEngine":
        """vLLM's engine."""
        return self._engine

    def check_room(self, tokens: int) -> None:
        """Refuse a text that vLLM would cut short.

        Raises:
            InvalidPrompt: it has more tokens than fit.
        """
        if tokens > self.context_length:
            raise InvalidPrompt(f"got a text of {tokens} tokens, expected at most {self.context_length}")

    def write(self, prefix: Sequence[int], asked: Asked, limit: int, eos: Sequence[int]) -> RunningRequest:
        """Add a request whose tokens the processor chooses.

        Args:
            prefix: token ids.
            asked: how its tokens are chosen.
            limit: the maximum number of new tokens.
            eos: the tokens that end it.
        """
        from vllm import SamplingParams

        extra = TICKETS.put(asked)
        params = SamplingParams(
            temperature=0.0,  # the processor leaves one token
            max_tokens=limit,
            stop_token_ids=list(eos),
            ignore_eos=True,
            detokenize=False,
            skip_clone=True,
            extra_args=extra,
            skip_reading_prefix_cache=reads_every_token(asked),
        )
        return self._add(prefix, params, extra)

    def measure(self, text: Sequence[int]) -> RunningRequest:
        """Add a text whose tokens' likelihoods are wanted."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=1, detokenize=False, ignore_eos=True)
        return self._add(text, params, None)

    def _add(self, ids: Sequence[int], params: Any, extra: dict[str, Any] | None) -> RunningRequest:
        with self.lock:
            name = str(next(self._numbers))
            self._engine.add_request(name, {"prompt_token_ids": list(ids)}, params)
            found = self._requests[name] = RunningRequest(name, extra)
            return found

    def step(self) -> None:
        """Run one step of all requests, whoever added them."""
        with self.lock:
            for output in self._engine.step():
                request = self._requests.get(output.request_id)
                if request is None:
                    continue
                request.likelihoods = output.prompt_logprobs or request.likelihoods
                if output.finished:
                    self._forget(request)

    def end(self, request: RunningRequest) -> None:
        """End a request, if it has not ended."""
        with self.lock:
            if not request.done:
                self._engine.abort_request([request.name])
                self._forget(request)

    def _forget(self, request: RunningRequest) -> None:
        request.done = True
        self._requests.pop(request.name, None)
        if request.extra_args is not None:
            TICKETS.drop(request.extra_args)


def reads_every_token(asked: Asked) -> bool:
    """Whether a ladder steers, which must read every token of the prompt beside the model."""
    rewards = [reward for reward in distinct_rewards([asked.steer]) if isinstance(reward, RewardModel)]
    return any(reward.network.ladder is not None for reward in rewards)
