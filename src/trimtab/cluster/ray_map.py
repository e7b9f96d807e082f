"""Map work over the actors of a Ray cluster. Work and answers travel as JSON texts, in tables of one row."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, final

import trimtab.errors
from trimtab.cluster.ray_actors import RayActors
from trimtab.cluster.ray_cluster import actor_count, connected
from trimtab.data.json_text import dump_json, parse_json
from trimtab.errors import TrimtabError, out_of_memory

if TYPE_CHECKING:
    import pyarrow

Answer = Callable[[Any], dict[str, Any]]


@final
class RayWorker:
    """What an actor does: it answers pieces of work.

    Errors of ours are answers: Ray would retry them, and bring back their texts alone.

    Args:
        make: makes the function that answers a piece of work; called in the actor.
    """

    def __init__(self, make: Callable[[], Answer]):
        self._answer = make()

    def __call__(self, table: "pyarrow.Table") -> "pyarrow.Table":
        """Answer each row of a table of work."""
        return json_table([self._answered(work) for work in read_table(table)])

    def _answered(self, work: Any) -> dict[str, Any]:
        try:
            return self._answer(work)
        except TrimtabError as error:
            return {"error": [type(error).__name__, str(error)]}
        except Exception as error:
            if out_of_memory(error):
                return {"error": ["MemoryError", str(error)]}
            raise


def map_on_ray(
    make: Callable[[], Answer], work: Sequence[Any], address: str, actors: RayActors, in_order: bool = False
) -> Generator[dict[str, Any], None, None]:
    """Answer pieces of work on a cluster, and yield the answers as they come. What an actor loses is done again.

    Args:
        make: makes the function that answers a piece; called once in each actor.
        work: what JSON can hold; one piece is what a lost actor costs.
        address: of the cluster; see `check_address`.
        actors: how many work at once, and what each gets.
        in_order: yield the answers in the order of the work; else an answer may come twice.

    Raises:
        InvalidSetting: nothing answers at the address, or no machine has room for an actor.
        TrimtabError, MemoryError: the error of an actor.
    """
    if not work:
        return
    with connected(address):
        from ray.data import ActorPoolStrategy, DataContext, from_arrow

        context = DataContext.get_current()
        was, context.execution_options.preserve_order = context.execution_options.preserve_order, in_order
        try:
            answers = from_arrow([json_table([piece]) for piece in work]).map_batches(
                RayWorker,
                fn_constructor_args=(make,),
                batch_size=None,
                batch_format="pyarrow",
                num_cpus=actors.actor_cpus,
                num_gpus=actors.actor_gpus or None,
                compute=ActorPoolStrategy(size=actor_count(actors), max_tasks_in_flight_per_actor=1),
            )
            for table in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from read_answers(table)
        finally:
            context.execution_options.preserve_order = was


def json_table(values: Sequence[Any]) -> "pyarrow.Table":
    """Values as the rows of a table."""
    import pyarrow

    return pyarrow.table({"text": [dump_json(value, ascii_only=True) for value in values]})


def read_table(table: "pyarrow.Table") -> Iterator[Any]:
    """The values of the rows of a table."""
    return map(parse_json, table["text"].to_pylist())


def read_answers(table: "pyarrow.Table") -> Iterator[dict[str, Any]]:
    """The answers in a table.

    Raises:
        TrimtabError, MemoryError: an answer is the error of its actor.
    """
    for answer in read_table(table):
        if "error" in answer:
            name, message = answer["error"]
            raise {"MemoryError": MemoryError}.get(name, getattr(trimtab.errors, name, TrimtabError))(message)
        yield answer
