"""How many engines a Ray cluster holds, and what each of them gets. No Ray here, so the command line starts fast."""

from dataclasses import dataclass
from typing import Annotated, final

from trimtab.checking import checked
from trimtab.errors import InvalidSetting


@final
@checked
@dataclass(frozen=True)
class RayActors:
    """The Ray actors of a job. Each holds one engine.

    Raises:
        InvalidSetting: a number is out of range.
    """

    actors: Annotated[int | None, "Engines that work at once. Default: one for each machine of the cluster."] = None
    actor_cpus: Annotated[int, "CPU threads of each engine."] = 1
    actor_gpus: Annotated[float, "GPUs of each engine; 0.5 puts two on one GPU."] = 0.0

    def __post_init__(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise InvalidSetting(f"got actors={self.actors}, expected at least 1")
        if self.actor_cpus < 1:
            raise InvalidSetting(f"got actor_cpus={self.actor_cpus}, expected at least 1")
        if not 0 <= self.actor_gpus < 10**6 or (self.actor_gpus > 1 and self.actor_gpus % 1):
            raise InvalidSetting(f"got actor_gpus={self.actor_gpus:g}, expected a part of one GPU, or a whole number")
