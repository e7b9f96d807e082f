"""What one request asks of the logits processor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from trimtab.engines.base import Choice
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import TrimtabError
from trimtab.models.frozen_lm import FrozenLM
from trimtab.steering.steer import Steer


@final
@dataclass(eq=False)
class Outbox:
    """What the processor has for the engine that sent a request: the choices since the last look, or a fault."""

    choices: list[Choice] = field(default_factory=list)
    fault: TrimtabError | None = None


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """How the tokens of one request are chosen.

    Attributes:
        params: the candidates, the budget and, if `draws`, the temperature and the seed.
        steer: how to steer; None for not at all.
        base: the model in this process, whose weights the steer's rewards share; None without a steer.
        sample: the number of the sample, which its noise depends on.
        begun: how many of the prompt's last tokens an earlier call wrote, see `Request.written`.
        draws: choose the token here, by the noise of the seed. Otherwise vLLM samples among the steered candidates.
        forced: tokens to choose, whatever their probability; empty to choose freely.
        outbox: receives each choice; None if nobody asks.
    """

    params: SamplingParams
    steer: Steer | None = None
    base: FrozenLM | None = None
    sample: int = 0
    begun: int = 0
    draws: bool = True
    forced: Sequence[int] = ()
    outbox: Outbox | None = None
