"""What the handlers of one server share."""

import time
from dataclasses import dataclass, field
from typing import final

from trimtab.language_model import LanguageModel
from trimtab.server.call import Intake
from trimtab.server.metrics import Metrics
from trimtab.server.responses import Responses
from trimtab.server.scheduler import Scheduler
from trimtab.server.searches import Searches


@final
@dataclass(frozen=True)
class ServerState:
    """The parts of one server.

    Attributes:
        lm: writes all texts.
        intake: turns bodies into calls.
        responses: turns texts into responses.
        scheduler: owns the running batch.
        searches: runs rewind searches.
        metrics: counts.
        started: seconds since 1970.
    """

    lm: LanguageModel
    intake: Intake
    responses: Responses
    scheduler: Scheduler
    searches: Searches
    metrics: Metrics
    started: int = field(default_factory=lambda: int(time.time()))
