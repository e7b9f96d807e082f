"""Settings of a benchmark. No torch here, so that the command line starts fast.

The text beside each type is the help text of the option.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple, final

from trimtab.benchmark.rows import KEYS, ROWS, VLLM_ROWS, Row, find_rows
from trimtab.checking import checked, shown
from trimtab.engines.engine_names import EngineName, check_engine
from trimtab.errors import InvalidSetting

MOST = {"batch": 4096, "prompt_tokens": 10**6, "top_k": 10**6, "tokens": 10**5, "repeats": 1000, "layers": 1000}
FEWEST_TOKENS = 4  # of a timed text: the first one, and enough others for a time per token


class Setting(NamedTuple):
    """One table: the batch, the prompts and the candidates that its rows share.

    Attributes:
        batch: texts that are written together.
        prompt_tokens: tokens of each prompt.
        top_k: candidates per token.
    """

    batch: int
    prompt_tokens: int
    top_k: int


@final
@checked
@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and how often. None stands for the default, which `--quick` changes.

    Raises:
        InvalidSetting: a value is out of range, or there is no such row.
    """

    quick: Annotated[
        bool, "Measure fewer rows, batches and tokens, and no memory: two minutes for SmolLM2 on two cores."
    ] = False
    rows: Annotated[
        list[str] | None, f"Row to measure: {', '.join(KEYS)}. Repeat for several. Default: all; plain is always there."
    ] = None
    batch: Annotated[list[int] | None, "Texts written together. Repeat for several. Default: 1, 8 and 32."] = None
    prompt_tokens: Annotated[
        list[int] | None,
        "Tokens of each prompt. Repeat for several; later ones are measured with the first --top-k only. "
        "Default: 20 and 512.",
    ] = None
    top_k: Annotated[
        list[int] | None,
        "Candidates per token. Repeat for several; later ones are measured with the first --prompt-tokens only. "
        "Default: 20 and 80.",
    ] = None
    tokens: Annotated[int | None, "Tokens of each text. A very slow row writes fewer. Default: 24."] = None
    repeats: Annotated[int | None, "Timed texts of each row. A very slow row has fewer. Default: 5."] = None
    layers: Annotated[
        int | None, "Layers of a trunk that runs beside the model (ARM, RAD). Default: two thirds of the model's."
    ] = None
    memory: Annotated[
        bool | None, "Measure the peak memory of each row in a process of its own. Default: unless --quick."
    ] = None
    cpu_time: Annotated[
        bool, "Measure the CPU time of the process, which other work on the machine disturbs less. Not on a GPU."
    ] = False
    engine: Annotated[
        EngineName, "With vllm, measure also the vLLM engine: unsteered, and steered by a reward of each kind."
    ] = "torch"
    seed: Annotated[int, "Seed of the random prompts, the fresh rewards and the sampling."] = 0

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            given = getattr(self, name)
            least = FEWEST_TOKENS if name == "tokens" else 1
            for value in given if isinstance(given, list) else [] if given is None else [given]:
                if not least <= value <= most:
                    raise InvalidSetting(f"got {name}={shown(value)}, expected {least} to {most}")
        if not 0 <= self.seed < 2**32:
            raise InvalidSetting(f"got seed={shown(self.seed)}, expected 0 to {2**32 - 1}")
        find_rows(self.rows or ())
        check_engine(self.engine)

    def resolved(self) -> "BenchSettings":
        """These settings with every default filled in, but for `layers`, which depends on the model."""
        quick = self.quick
        return replace(
            self,
            rows=self.rows or [row.key for row in ROWS if row.quick or not quick],
            batch=self.batch or ([1, 8] if quick else [1, 8, 32]),
            prompt_tokens=self.prompt_tokens or ([20] if quick else [20, 512]),
            top_k=self.top_k or ([20] if quick else [20, 80]),
            tokens=self.tokens or (12 if quick else 24),
            repeats=self.repeats or (3 if quick else 5),
            memory=not quick if self.memory is None else self.memory,
        )

    @property
    def table_rows(self) -> tuple[Row, ...]:
        """The rows of each table, in order."""
        return find_rows(self.resolved().rows or ()) + (VLLM_ROWS if self.engine == "vllm" else ())

    def tables(self) -> Iterator[Setting]:
        """The settings of the tables: each batch with the first prompts and k, then with one of them changed."""
        known = self.resolved()
        lengths, widths = known.prompt_tokens or [], known.top_k or []
        pairs = [(lengths[0], widths[0])]
        pairs += [(length, widths[0]) for length in lengths[1:]] + [(lengths[0], width) for width in widths[1:]]
        for length, width in dict.fromkeys(pairs):
            for batch in dict.fromkeys(known.batch or ()):
                yield Setting(batch, length, width)
