"""The settings of a generation, or of a search, over many prompts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, final

from trimtab.best_of_settings import BestOfSettings
from trimtab.checking import checked, shown
from trimtab.engines.engine_names import EngineName
from trimtab.engines.sampling_params import SamplingParams
from trimtab.errors import InvalidData, InvalidSetting
from trimtab.models.dtypes import Dtype
from trimtab.rewind.rewind_settings import Budget, RewindSettings


@final
@checked
@dataclass(frozen=True)
class Job:
    """The settings of a generation over many prompts.

    Attributes:
        model, dtype: the language model's name and dtype.
        steer, method: the steer, as text.
        retokenize: whether rewards of another tokenizer may steer.
        sampling: how to sample; the seed is that of every prompt.
        chat: send each text as a user message.
        system: the system message of each conversation that has none; implies `chat`. An empty one leaves the system
            turn out, also the one that a template inserts.
        batch_invariant: decode so that texts do not depend on their batch in bfloat16 either.
        trace: put the candidates of every token into the rows.
        engine: what runs the model.
        ranking: the drafts of best-of-n, and what ranks them; None for plain samples.
    """

    model: str
    dtype: Dtype = "auto"
    steer: tuple[str, ...] = ()
    method: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    chat: bool = False
    system: str | None = None
    batch_invariant: bool = False
    trace: bool = False
    retokenize: bool = False
    engine: EngineName = "torch"
    ranking: BestOfSettings | None = None

    @property
    def samples(self) -> int:
        """Rows per prompt."""
        return self.sampling.n

    def record(self) -> dict[str, Any]:
        """The job as rows and settings files hold it."""
        return {"kind": "generate", **asdict(self)}


@final
@checked
@dataclass(frozen=True)
class RewindJob:
    """The settings of a search over many prompts. Fields as in `LanguageModel.rewind`, names as text."""

    model: str
    judge: str
    steer: tuple[str, ...]
    method: str | None
    settings: RewindSettings
    budget: Budget
    similarity: str
    seed: int
    chat: bool
    system: str | None
    stop: tuple[str, ...]
    judge_chat: bool
    judge_soft: bool
    judge_alone: bool
    dtype: Dtype
    retokenize: bool = False
    engine: EngineName = "torch"

    @property
    def samples(self) -> int:
        """Rows per prompt."""
        return 1

    def record(self) -> dict[str, Any]:
        """The job as rows and settings files hold it."""
        return {"kind": "rewind", **asdict(self)}


def job_of(provenance: Mapping[str, Any]) -> Job | RewindJob:
    """The job of a row's provenance.

    Raises:
        InvalidData: it has none, or it cannot be read.
    """
    job = provenance.get("job")
    if not isinstance(job, Mapping):
        raise InvalidData('got a row whose provenance has no job, expected one of "--output" or "--json"')
    record = {**provenance, **job}
    kinds: dict[str, type[Job] | type[RewindJob]] = {"generate": Job, "rewind": RewindJob}
    kind = next((of for name, of in kinds.items() if name == record.get("kind")), None)
    if kind is None:
        raise InvalidData(f"got a job of kind {shown(record.get('kind'))}, expected generate or rewind")
    parts = {"sampling": SamplingParams, "settings": RewindSettings, "budget": Budget, "ranking": BestOfSettings}
    try:
        given = {each.name: record[each.name] for each in fields(kind) if each.name in record}
        for name, part in parts.items():
            if given.get(name) is not None:
                given[name] = part(**{key: _tupled(value) for key, value in given[name].items()})
        return kind(**{name: _tupled(value) for name, value in given.items()})
    except (InvalidSetting, AttributeError, TypeError) as error:
        raise InvalidData(f"the record of a job cannot be read: {error}") from error


def _tupled(value: Any) -> Any:
    """A list of JSON as the tuple that it was."""
    return tuple(value) if isinstance(value, list) else value
