"""The texts of a sweep, written by the actors of a Ray cluster. One process writes all files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

from trimtab.cluster.ray_actors import RayActors
from trimtab.cluster.ray_map import map_on_ray
from trimtab.data.differences import differences
from trimtab.errors import InvalidData
from trimtab.evaluation.run.load_plan import load_plan
from trimtab.evaluation.run.prompt_sets import PromptSet
from trimtab.evaluation.run.row_file import RowFile
from trimtab.evaluation.run.search_settings import SearchSettings
from trimtab.evaluation.run.sweep import Progress, Row, Sweep
from trimtab.evaluation.run.sweep_settings import Grid, SweepSettings
from trimtab.language_model import LanguageModel
from trimtab.loading import load


@final
@dataclass(frozen=True)
class SweepWriter:
    """Writes batches of a sweep in an actor, which loads the model and the rewards itself.

    Attributes:
        task, grid, settings, search, sets: of the sweep.
    """

    task: str
    grid: Grid
    settings: SweepSettings
    search: SearchSettings
    sets: Sequence[PromptSet]

    def __call__(self, work: Mapping[str, Any]) -> dict[str, Any]:
        """Write the texts of a batch: the row's number, and the places of its prompts from `start` to `stop`.

        Raises:
            TrimtabError: the model or a reward cannot be loaded, or a text cannot be written.
        """
        sweep, row = self._sweep, self._sweep.rows[work["row"]]
        texts = sweep.write_batch(row, range(work["start"], work["stop"]), self._lm)
        return {"texts": texts, "about": sweep.about(row, self._lm), "made_by": sweep.made_by(row, self._lm)}

    @cached_property
    def _lm(self) -> LanguageModel:
        return load(self.settings.model, dtype=self.settings.dtype, engine=self.settings.engine)

    @cached_property
    def _sweep(self) -> Sweep:
        plan = load_plan(self.grid, self.settings, self.search, self._lm)
        return Sweep(self.task, plan.rows(self.sets), self.settings)


class _Waiting(NamedTuple):
    """A row that this process holds, and the batches of it that are not written."""

    number: int
    row: Row
    file: RowFile
    batches: Sequence[range]


def run_on_ray(
    sweep: Sweep,
    writer: Callable[[], SweepWriter],
    lm: LanguageModel,
    address: str,
    actors: RayActors,
    progress: Progress = lambda row, done, total: None,
) -> list[Row]:
    """Write the missing texts on a cluster; what is lost there is written again. Interrupted sweeps resume.

    Args:
        sweep: the rows.
        writer: makes the writer of the same sweep.
        lm: the language model, which says what the files must agree with.
        address: of the cluster; see `check_address`.
        actors: how many engines work at once, and what each gets.
        progress: as in `Sweep.run`.

    Returns:
        The rows that other processes hold.

    Raises:
        InvalidData: a row's file was written with other settings, or a machine has other weights.
        TrimtabError: of the cluster or of an actor.
    """
    left: list[Row] = []
    with ExitStack() as held:
        waiting = list(_held(sweep, lm, held, left))
        work = [
            {"row": each.number, "start": batch.start, "stop": batch.stop} for each in waiting for batch in each.batches
        ]
        with closing(map_on_ray(writer, work, address, actors, in_order=True)) as answers:
            for each in waiting:
                _write(sweep, each, answers, progress)
    return left


def _held(sweep: Sweep, lm: LanguageModel, held: ExitStack, left: list[Row]) -> Iterator[_Waiting]:
    """Hold the rows that no other process holds; the others are added to `left`."""
    for number, row in enumerate(sweep.rows):
        file = sweep.file(row, lm)
        if held.enter_context(file.claimed()):
            batches = sweep.batches(row)
            yield _Waiting(number, row, file, batches[file.resume(sweep.sizes(row)) :])
        else:
            left.append(row)


def _write(sweep: Sweep, waiting: _Waiting, answers: Iterator[dict[str, Any]], progress: Progress) -> None:
    """Write the batches of a row as they come back, signed by the machine that wrote them."""
    row, total = waiting.row, len(waiting.row.prompts.prompts)
    done, file = total - sum(map(len, waiting.batches)), waiting.file
    progress(row, done, total)
    for batch in waiting.batches:
        answer = next(answers)
        if differing := differences(waiting.file.settings, answer["about"]):
            raise InvalidData(f"two machines have different weights ({differing}); give all of them the same files")
        if answer["made_by"] != file.made_by:
            file = RowFile(file.path, answer["about"], answer["made_by"])
            file.resume(sweep.sizes(row))
        file.append(answer["texts"])
        done += len(batch)
        progress(row, done, total)
